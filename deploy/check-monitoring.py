#!/usr/bin/env python3
"""Checks what promtool does not check in deploy/monitoring/: that the sidecar serves each
metric and label that a rule or a panel names, that each alert has a test in which it
fires and one in which it does not, and that Grafana can show the dashboard. `make
try-deploy` calls this in an environment that has deploy/requirements.txt.

    deploy/check-monitoring.py EXPOSITION DIRECTORY

EXPOSITION is a scrape of the sidecar that has every family. Into DIRECTORY this writes the
rules for promtool: whole.yaml, and rules.yaml without the descriptions, so that
rules-test.yaml need not repeat them.
"""

import json
import pathlib
import re
import sys
from collections.abc import Iterable
from itertools import product

import promql_parser as promql
import yaml
from check import DEPLOY, read, read_all, require
from cloudcoil.models.prometheus_operator import v1 as operator
from prometheus_client.parser import text_string_to_metric_families

MONITORING = DEPLOY / "monitoring"
# The operator adds these labels to those that a PodMonitor sets.
TARGET = {"job", "instance", "namespace", "pod", "container", "endpoint"}
# The scrape has all values that these labels can have.
CLOSED = {"method_name", "le"}


def contain(place: str, what: str, names: Iterable[str], there: Iterable[str]) -> None:
    for name in names:
        require(place, {f"{what} {name} is one of {', '.join(sorted(there))}": name in there})


class Metrics:
    """The metrics of a scrape: their families, and their labels with the values."""

    def __init__(self, exposition: str, monitor: dict) -> None:
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        set_by = {each["targetLabel"]: each.get("replacement") for each in endpoint["relabelings"]}
        self.job, self.families, self.values = set_by["job"], {}, {"up": {}}
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                self.families[sample.name] = family.name
                values = self.values.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    values.setdefault(label, set()).add(value)
        for values in self.values.values():
            values |= {label: set() for label in TARGET | set_by.keys()}

    def check(self, place: str, query: str, any_job: bool = False) -> tuple[set, set]:
        """Returns the metrics that a query names, and the labels that its result may have."""
        names, grouped = set(), set()

        def visit(node: object) -> None:
            node = getattr(node, "vector_selector", node)
            if isinstance(node, promql.AggregateExpr) and node.modifier:
                grouped.update(node.modifier.labels)
            if isinstance(node, promql.VectorSelector):
                names.add(node.name)
                contain(place, "the metric", [node.name], self.values)
                given = {each.name: each.value for each in node.matchers.matchers}
                values = self.values[node.name]
                contain(place, f"{node.name}'s label", given, values)
                for label in CLOSED & given.keys():
                    contain(place, label, [given[label]], values[label])
                # Other programs have metrics of the same names.
                is_ours = any_job or given.get("job") == self.job
                require(place, {f'{node.name} has job="{self.job}"': is_ours})

        promql.walk(promql.parse(query), visit)
        labels = set().union(*(self.values[name] for name in names))
        contain(place, "the label", grouped, labels)
        return names, grouped or labels


def check_rules(metrics: Metrics, groups: list[dict], tests: list[dict], interval: str) -> None:
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    asked = {name: metrics.check(name, rule["expr"])[0] for name, rule in rules.items()}
    fire, are_silent = set(), set()
    for test in tests:
        require(test["name"], {"its interval is podmonitor.yaml's": test["interval"] == interval})
        series = (each["series"] for each in test["input_series"])
        there = set().union(*(metrics.check(test["name"], each, True)[0] for each in series))
        for case in test["alert_rule_test"]:
            name = case["alertname"]
            contain(test["name"], "the alert", [name], rules)
            for alert in case["exp_alerts"]:
                # promtool makes sure that these are the labels of the alert.
                text = str(rules[name]["annotations"])
                contain(name, "the label", re.findall(r"labels\.(\w+)", text), alert["exp_labels"])
                fire.add(name)
            # An alert without its metrics is always silent, which shows nothing.
            if not case["exp_alerts"] and asked[name] & there:
                are_silent.add(name)
    for name, rule in rules.items():
        contain(name, "severity", [rule["labels"]["severity"]], {"critical", "warning"})
        require(name, {"it has a description": rule["annotations"]["description"]})
        require(name, {"tests see it fire, and be silent": name in fire & are_silent})


def check_dashboard(metrics: Metrics, dashboard: dict) -> None:
    panels, variables = dashboard["panels"], dashboard["templating"]["list"]
    text, source = json.dumps(dashboard), '{"type": "prometheus", "uid": "${datasource}"}'
    cells = [
        cell
        for at in (panel["gridPos"] for panel in panels)
        for cell in product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
    ]
    claims = {
        "it has neither id nor version": not {"id", "version"} & dashboard.keys(),
        "each query is for the chosen datasource": text.count('"datasource": ')
        == text.count(f'"datasource": {source}'),
        "each panel has its own id": len({each["id"] for each in panels}) == len(panels),
        "no panel covers another one": len(set(cells)) == len(cells),
        "all panels are within 24 columns": max(cells)[0] < 24,
        "each panel has a description": all(panel["description"] for panel in panels),
    }
    require("dashboard.json", claims)
    for variable in (each for each in variables if each["type"] == "query"):
        query, label = re.match(
            r"label_values\((.*), (\w+)\)$", variable["query"]["query"]
        ).groups()
        contain(variable["name"], "the label", [label], metrics.check(variable["name"], query)[1])
    known = {variable["name"] for variable in variables} | {"__rate_interval"}
    shown = set()
    for panel in panels:
        for target in panel["targets"]:
            query, title = target["expr"], panel["title"]
            contain(title, "the variable", re.findall(r"\$\{?(\w+)", query), known)
            names, labels = metrics.check(title, query.replace("$__rate_interval", "5m"))
            legend = re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", ""))
            contain(title, "the legend's label", legend, labels)
            shown |= {metrics.families.get(name) for name in names}
    contain("the dashboard", "the family", metrics.families.values(), shown - {None})


def check_pod_monitor(spec: dict, daemonset: dict) -> None:
    """Checks that it finds the sidecar of daemonset.yaml."""
    template, namespace = daemonset["spec"]["template"], daemonset["metadata"]["namespace"]
    contain("podmonitor.yaml", "namespace", [namespace], spec["namespaceSelector"]["matchNames"])
    for wanted in spec["selector"]["matchExpressions"]:
        label = template["metadata"]["labels"][wanted["key"]]
        contain("podmonitor.yaml", wanted["key"], [label], wanted["values"])
    ports = {
        port["name"] for each in template["spec"]["containers"] for port in each.get("ports", [])
    }
    contain("podmonitor.yaml", "port", [spec["podMetricsEndpoints"][0]["port"]], ports)


def main() -> None:
    exposition, directory = (pathlib.Path(given) for given in sys.argv[1:])
    monitor, rule = read(MONITORING / "podmonitor.yaml"), read(MONITORING / "prometheusrule.yaml")
    operator.PodMonitor.model_validate(monitor, extra="forbid")
    operator.PrometheusRule.model_validate(rule, extra="forbid")
    check_pod_monitor(monitor["spec"], read_all(DEPLOY / "kubernetes" / "daemonset.yaml")[0])

    metrics = Metrics(exposition.read_text(encoding="utf-8"), monitor)
    tests = read(MONITORING / "rules-test.yaml")["tests"]
    interval = monitor["spec"]["podMetricsEndpoints"][0]["interval"]
    check_rules(metrics, rule["spec"]["groups"], tests, interval)
    check_dashboard(metrics, read(MONITORING / "dashboard.json"))

    (directory / "whole.yaml").write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")
    for each in (each for group in rule["spec"]["groups"] for each in group["rules"]):
        del each["annotations"]["description"]
    (directory / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")


if __name__ == "__main__":
    main()
