#!/usr/bin/env python3
"""Checks deploy/monitoring/: each file by its schema, every metric and label that a
rule or a panel asks for against what the sidecar serves, and the rules by promtool.
`make try-deploy` calls this in an environment that has deploy/requirements.txt.

    deploy/check-monitoring.py EXPOSITION PROMTOOL [DIRECTORY]

EXPOSITION is a scrape of the sidecar that has every family, PROMTOOL what
packaging/unpack.sh prints.
"""

import copy
import difflib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import promql_parser as promql
import pydantic
import yaml
from cloudcoil.models.prometheus_operator import v1 as operator
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

DEPLOY = pathlib.Path(__file__).parent
DAEMONSET = DEPLOY / "kubernetes" / "daemonset.yaml"

# What the operator's scrapes have besides what a PodMonitor adds.
OPERATORS_LABELS = {"job", "instance", "namespace", "pod", "container", "endpoint"}
# What Prometheus says of every target itself.
OF_EVERY_TARGET = "up"
# Labels whose values are few, and in every scrape that has every family.
CLOSED_LABELS = {"method_name", "le"}
ONLY_OF_COUNTERS = {"rate", "irate", "increase", "resets"}
SEVERITIES = {"critical", "warning"}
# Where a query of Grafana's has its own.
GRAFANAS_DURATIONS = {"__rate_interval", "__interval", "__range"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass
class Problems:
    """What is wrong, all of it, each once: mistakes of one kind come together."""

    found: list[str] = field(default_factory=list)

    def add(self, place: str, what: str) -> None:
        problem = f"{place}: {what}"
        if problem not in self.found:
            self.found.append(problem)


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def unless_meant(name: str, names: Iterable[str]) -> str:
    """The end of a message about a name that is not among these."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"there are: {listed(names)}"


# What is scraped


@dataclass
class Metric:
    """All samples of one name."""

    family: str
    kind: str
    values: dict[str, set[str]]


def scraped(text: str, target_labels: set[str]) -> dict[str, Metric]:
    """The metrics that there are in Prometheus after this scrape, with the labels of
    their targets. A family without a sample is none."""
    metrics: dict[str, Metric] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # The parser takes _total off a counter's family.
            name = sample.name if family.type == "counter" else family.name
            metric = metrics.setdefault(sample.name, Metric(name, family.type, {}))
            for label, value in sample.labels.items():
                metric.values.setdefault(label, set()).add(value)
    metrics[OF_EVERY_TARGET] = Metric(OF_EVERY_TARGET, "gauge", {})
    for metric in metrics.values():
        for label in target_labels:
            metric.values.setdefault(label, set())
    return metrics


# What is asked for


class BadQuery(Exception):
    """What is wrong with a query."""


@dataclass
class Queries:
    """Holds queries to the metrics that there are."""

    metrics: dict[str, Metric]
    job: str

    def check(self, query: str) -> tuple[set[str], set[str]]:
        """The names of the metrics it asks for, and the labels of its result."""
        try:
            expression = promql.parse(query)
        except ValueError as error:
            raise BadQuery(f"not PromQL: {error}") from None
        selectors: list[promql.VectorSelector] = []

        def visit(node: promql.Expr) -> None:
            if isinstance(node, promql.MatrixSelector):
                selectors.append(node.vector_selector)
            elif isinstance(node, promql.VectorSelector):
                selectors.append(node)

        promql.walk(expression, visit)
        for selector in selectors:
            self.check_selector(selector)
        labels = self.labels(expression)
        return {selector.name for selector in selectors}, labels

    def check_selector(
        self, selector: promql.VectorSelector, any_job: bool = False
    ) -> None:
        metric = self.metrics.get(selector.name)
        if metric is None:
            raise BadQuery(
                f"there is no metric {selector.name}; "
                f"{unless_meant(str(selector.name), self.metrics)}"
            )
        jobs = []
        for matcher in selector.matchers.matchers:
            values = metric.values.get(matcher.name)
            if values is None:
                raise BadQuery(
                    f"{selector.name} has no label {matcher.name}; "
                    f"{unless_meant(matcher.name, metric.values)}"
                )
            if matcher.op != promql.MatchOp.Equal:
                continue
            if matcher.name == "job":
                jobs.append(matcher.value)
            if matcher.name in CLOSED_LABELS and matcher.value not in values:
                raise BadQuery(
                    f'{selector.name} never has {matcher.name}="{matcher.value}"; '
                    f"{unless_meant(matcher.value, values)}"
                )
        # Other processes have metrics of the same names.
        if jobs != [self.job] and not any_job:
            raise BadQuery(
                f'{selector.name} is asked for without job="{self.job}", '
                "the job that podmonitor.yaml sets"
            )

    def labels(self, node: promql.Expr) -> set[str]:
        """The labels that the result has."""
        match node:
            case promql.VectorSelector():
                return set(self.metrics[node.name].values)
            case promql.MatrixSelector():
                return self.labels(node.vector_selector)
            case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
                return self.labels(node.expr)
            case promql.AggregateExpr():
                return self.labels_of_aggregate(node)
            case promql.Call():
                return self.labels_of_call(node)
            case promql.BinaryExpr():
                return self.labels_of_binary(node)
            case _:
                return set()

    def labels_of_aggregate(self, node: promql.AggregateExpr) -> set[str]:
        inner = self.labels(node.expr)
        if node.modifier is None:
            named, is_by = set(), True
        else:
            named = set(node.modifier.labels)
            is_by = node.modifier.type == promql.AggModifierType.By
        self.require(str(node.op), named, inner)
        if str(node.op) in ("topk", "bottomk"):
            return inner
        return named if is_by else inner - named

    def labels_of_call(self, node: promql.Call) -> set[str]:
        name = node.func.name
        if name in ("absent", "absent_over_time"):
            (argument,) = node.args
            selector = getattr(argument, "vector_selector", argument)
            return {
                matcher.name
                for matcher in selector.matchers.matchers
                if matcher.op == promql.MatchOp.Equal
            }
        if name in ONLY_OF_COUNTERS:
            (matrix,) = node.args
            if isinstance(matrix, promql.MatrixSelector):
                asked = matrix.vector_selector.name
                if self.metrics[asked].kind not in ("counter", "histogram"):
                    raise BadQuery(
                        f"{name}() of {asked}, which is a {self.metrics[asked].kind}; "
                        "take delta() or changes()"
                    )
        labels = set().union(*(self.labels(each) for each in node.args))
        if name == "histogram_quantile":
            self.require(name, {"le"}, labels)
            return labels - {"le"}
        if name == "label_replace":
            return labels | {node.args[1].val}
        return labels

    def labels_of_binary(self, node: promql.BinaryExpr) -> set[str]:
        left, right = self.labels(node.lhs), self.labels(node.rhs)
        operation = str(node.op)
        matching = node.modifier.matching if node.modifier else None
        if is_scalar(node.lhs) or is_scalar(node.rhs):
            return left | right
        if matching is not None:
            self.require(f"{operation} on the left", set(matching.labels), left)
            self.require(f"{operation} on the right", set(matching.labels), right)
        elif left != right and operation != "or":
            raise BadQuery(
                f"{operation} never finds a pair: one side alone has "
                f"{listed(left ^ right)}; say on (...)"
            )
        if operation in ("and", "unless"):
            return left
        if operation == "or":
            return left & right
        grouped = set(node.modifier.group_labels or []) if node.modifier else set()
        card = node.modifier.card if node.modifier else None
        if card == promql.VectorMatchCardinality.ManyToOne:
            self.require("group_left", grouped, right)
            return left | grouped
        if card == promql.VectorMatchCardinality.OneToMany:
            self.require("group_right", grouped, left)
            return right | grouped
        if matching is None:
            return left
        named = set(matching.labels)
        is_on = matching.type == promql.LabelModifierType.Include
        return named if is_on else left - named

    def require(self, what: str, named: set[str], there: set[str]) -> None:
        for label in sorted(named - there):
            raise BadQuery(
                f"{what} names the label {label}, which is not there; "
                f"{unless_meant(label, there)}"
            )


def is_scalar(node: promql.Expr) -> bool:
    match node:
        case promql.NumberLiteral():
            return True
        case promql.ParenExpr() | promql.UnaryExpr():
            return is_scalar(node.expr)
        case promql.Call():
            return node.func.return_type == promql.ValueType.Scalar
        case promql.BinaryExpr():
            return is_scalar(node.lhs) and is_scalar(node.rhs)
        case _:
            return False


# Schemas


def changed(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Where a schema's own reading of something differs from it: the schemas pass
    over what they do not know."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            place = f"{path}.{key}" if path else key
            # An absent one is null.
            if key in kept:
                yield from changed(value, kept[key], place)
            elif value is not None:
                meant = unless_meant(key, kept)
                yield f"{place}: the schema has no such field; {meant}"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, (value, other) in enumerate(zip(given, kept)):
            yield from changed(value, other, f"{path}[{index}]")
    elif given != kept:
        yield f"{path}: {given!r} is {kept!r} to the schema"


def check_custom_resource(
    place: str, given: Any, kind: type, problems: Problems
) -> None:
    try:
        read = kind.model_validate(given)
    except pydantic.ValidationError as error:
        for each in error.errors():
            path = ".".join(str(part) for part in each["loc"])
            problems.add(place, f"{path}: {each['msg']}, not {each['input']!r}")
        return
    kept = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for difference in changed(given, kept):
        problems.add(place, difference)


# The PodMonitor


def check_pod_monitor(
    path: pathlib.Path, monitor: dict, daemonset: dict, problems: Problems
) -> None:
    """That it finds the sidecar of this manifest."""
    place = str(path)
    template = daemonset["spec"]["template"]
    namespaces = monitor["spec"]["namespaceSelector"]["matchNames"]
    if daemonset["metadata"]["namespace"] not in namespaces:
        problems.add(
            place,
            f"namespaceSelector is without {daemonset['metadata']['namespace']}, "
            "the namespace of daemonset.yaml",
        )
    labels = template["metadata"]["labels"]
    for wanted in monitor["spec"]["selector"]["matchExpressions"]:
        if labels.get(wanted["key"]) not in wanted["values"]:
            problems.add(
                place,
                f"selector takes {wanted['key']} in {listed(wanted['values'])}; "
                f"the pods of daemonset.yaml have {labels.get(wanted['key'])}",
            )
    ports = {
        port["name"]
        for container in template["spec"]["containers"]
        for port in container.get("ports", [])
    }
    if not any(
        word.startswith("--http-endpoint=")
        for container in template["spec"]["containers"]
        if container["name"] == "liveness-probe"
        for word in container["args"]
    ):
        problems.add(
            place,
            "the sidecar of daemonset.yaml serves no metrics; it needs --http-endpoint",
        )
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    if endpoint["port"] not in ports:
        problems.add(
            place,
            f"no container of daemonset.yaml has a port {endpoint['port']}; "
            f"{unless_meant(endpoint['port'], ports)}",
        )


# The rules and their tests


def rules_for_tests(spec: dict) -> dict:
    """The rules with nothing to say but their summary: the tests would repeat all
    of the rest."""
    short = copy.deepcopy(spec)
    for group in short["groups"]:
        for rule in group["rules"]:
            summary = rule.get("annotations", {}).get("summary", "")
            rule["annotations"] = {"summary": summary}
    return short


def check_rules(
    path: pathlib.Path, rules: list[dict], queries: Queries, problems: Problems
) -> dict[str, set[str] | None]:
    """The metrics that each alert asks for, if it could be read."""
    asked: dict[str, set[str] | None] = {}
    for rule in rules:
        name = rule.get("alert", "a rule without a name")
        place = f"{path}: {name}"
        if name in asked:
            problems.add(place, "there are two of this name")
        asked[name] = None
        for key in ("expr", "for"):
            if key not in rule:
                problems.add(place, f"it has no {key}")
        severity = rule.get("labels", {}).get("severity")
        if severity not in SEVERITIES:
            problems.add(
                place, f"its severity is {severity}; there are: {listed(SEVERITIES)}"
            )
        try:
            asked[name], labels = queries.check(rule.get("expr", ""))
        except BadQuery as error:
            problems.add(f"{place}: expr", str(error))
            continue
        annotations = rule.get("annotations", {})
        for key in ("summary", "description"):
            if key not in annotations:
                problems.add(place, f"it has no {key}")
        for key, text in annotations.items():
            for label in re.findall(r"\$labels\.(\w+)", text):
                if label not in labels:
                    meant = unless_meant(label, labels)
                    what = f"the alert has no label {label}; {meant}"
                    problems.add(f"{place}: {key}", what)
    return asked


def check_tests(
    path: pathlib.Path,
    tests: dict,
    alerts: dict[str, set[str] | None],
    interval: str,
    queries: Queries,
    problems: Problems,
) -> None:
    """That the tests are about these alerts, with metrics that there are, and that
    each alert is seen to fire and not to."""
    if tests.get("rule_files") != ["rules.yaml"]:
        problems.add(str(path), "rule_files is not [rules.yaml]")
    fires, is_silent = set(), set()
    for test in tests["tests"]:
        place = f"{path}: {test.get('name', 'a test without a name')}"
        if test.get("interval") != interval:
            problems.add(
                place,
                f"interval is {test.get('interval')}; podmonitor.yaml has {interval}",
            )
        there = set()
        for series in test["input_series"]:
            try:
                selector = promql.parse(series["series"])
                queries.check_selector(selector, any_job=True)
            except (BadQuery, ValueError) as error:
                problems.add(place, str(error))
                continue
            there.add(selector.name)
        for case in test["alert_rule_test"]:
            name = case["alertname"]
            if name not in alerts:
                problems.add(
                    f"{place}: {case['eval_time']}",
                    f"there is no alert {name}; {unless_meant(name, alerts)}",
                )
            elif case.get("exp_alerts"):
                fires.add(name)
            elif alerts[name] is None or there & alerts[name]:
                # Without its metrics it would be silent whatever it says.
                is_silent.add(name)
    for name in alerts:
        if name not in fires:
            problems.add(
                f"{path}: {name}", "no test has it fire; add one with exp_alerts"
            )
        if name not in is_silent:
            problems.add(
                f"{path}: {name}",
                "no test that has its metrics sees it silent; add one with "
                "exp_alerts: []",
            )


def run_promtool(
    promtool: str, directory: pathlib.Path, spec: dict, problems: Problems
) -> None:
    source = directory / "rules-test.yaml"
    with tempfile.TemporaryDirectory() as work:
        whole = pathlib.Path(work, "whole.yaml")
        whole.write_text(yaml.safe_dump(spec), encoding="utf-8")
        short = pathlib.Path(work, "rules.yaml")
        short.write_text(yaml.safe_dump(rules_for_tests(spec)), encoding="utf-8")
        tests = pathlib.Path(work, "rules-test.yaml")
        tests.write_bytes(source.read_bytes())
        check = ["check", "rules", "--lint=all", "--lint-fatal", str(whole)]
        for place, arguments in (
            (directory / "prometheusrule.yaml", check),
            (source, ["test", "rules", str(tests)]),
        ):
            done = subprocess.run(
                [promtool, *arguments], capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                said = (done.stdout + done.stderr).replace(f"{work}/", "").strip()
                command = " ".join(arguments[:2])
                problems.add(str(place), f"promtool {command}:\n{said}")


# The dashboard


def panels(dashboard: dict) -> Iterator[dict]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def datasources(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "datasource":
                yield path, each
            else:
                yield from datasources(each, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from datasources(each, f"{path}[{index}]")


def without_variables(query: str, variables: set[str]) -> str:
    """The query as Prometheus might see it."""

    def value(found: re.Match) -> str:
        name = found[1] or found[2]
        if name in GRAFANAS_DURATIONS:
            return "5m"
        if name not in variables:
            raise BadQuery(
                f"there is no variable ${name}; "
                f"{unless_meant(name, variables | GRAFANAS_DURATIONS)}"
            )
        return ".*"

    return re.sub(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})", value, query)


def check_dashboard(path: pathlib.Path, queries: Queries, problems: Problems) -> None:
    text = path.read_text(encoding="utf-8")
    dashboard = json.loads(text)
    place = str(path)
    if text != json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n":
        problems.add(place, "it is not as json.dumps(indent=2) would print it")
    register_default_plugins()
    kept = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    for difference in changed(dashboard, kept):
        problems.add(place, difference)
    for key in ("id", "version"):
        if dashboard.get(key) is not None:
            problems.add(place, f"{key} is of one installation; leave it out")
    for where, datasource in datasources(dashboard):
        if datasource != DATASOURCE:
            problems.add(f"{place}: {where}", f"its datasource is not {DATASOURCE}")
    check_layout(place, list(panels(dashboard)), problems)

    variables = dashboard["templating"]["list"]
    for variable in variables:
        if variable["type"] == "query":
            check_variable(f"{place}: ${variable['name']}", variable, queries, problems)
    names = {variable["name"] for variable in variables}
    seen = set()
    for panel in panels(dashboard):
        where = f"{place}: {panel['title']}"
        for target in panel.get("targets", []):
            seen |= check_target(where, target, names, queries, problems)
    served = {
        metric.family
        for name, metric in queries.metrics.items()
        if name != OF_EVERY_TARGET
    }
    shown = {queries.metrics[name].family for name in seen}
    for family in sorted(served - shown):
        problems.add(place, f"no panel shows {family}, which the sidecar serves")


def check_layout(place: str, all_panels: list[dict], problems: Problems) -> None:
    used: dict[tuple[int, int], str] = {}
    ids = set()
    for panel in all_panels:
        where = f"{place}: {panel['title']}"
        if panel["id"] in ids:
            problems.add(where, f"another panel has the id {panel['id']}, too")
        ids.add(panel["id"])
        at = panel["gridPos"]
        columns = range(at["x"], at["x"] + at["w"])
        lines = range(at["y"], at["y"] + at["h"])
        if columns.stop > 24:
            problems.add(where, "it reaches beyond the 24 columns")
        cells = {(column, line) for column in columns for line in lines}
        over = {used[cell] for cell in cells & used.keys()}
        if over:
            problems.add(where, f"it lies on {listed(over)}")
        used.update(dict.fromkeys(cells, panel["title"]))
        if panel["type"] != "row" and not panel.get("description"):
            problems.add(where, "it has no description")


def check_target(
    place: str, target: dict, variables: set[str], queries: Queries, problems: Problems
) -> set[str]:
    """The metrics that it shows."""
    place = f"{place}: {target['refId']}"
    try:
        names, labels = queries.check(without_variables(target["expr"], variables))
    except BadQuery as error:
        problems.add(place, str(error))
        return set()
    legend = target.get("legendFormat", "")
    for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", legend):
        if label not in labels:
            what = f"the result has no label {label}; {unless_meant(label, labels)}"
            problems.add(f"{place}: legend", what)
    return names


def check_variable(
    place: str, variable: dict, queries: Queries, problems: Problems
) -> None:
    query = variable["query"]
    query = query["query"] if isinstance(query, dict) else query
    found = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", query)
    if found is None:
        problems.add(place, f"not label_values(METRIC, LABEL): {query}")
        return
    try:
        _, labels = queries.check(found[1])
    except BadQuery as error:
        problems.add(place, str(error))
        return
    if found[2] not in labels:
        problems.add(
            place, f"there is no label {found[2]}; {unless_meant(found[2], labels)}"
        )


def check(exposition: str, promtool: str, directory: pathlib.Path) -> Problems:
    problems = Problems()
    monitor_path = directory / "podmonitor.yaml"
    rules_path = directory / "prometheusrule.yaml"
    tests_path = directory / "rules-test.yaml"
    monitor, resource, tests = map(read, (monitor_path, rules_path, tests_path))

    check_custom_resource(str(monitor_path), monitor, operator.PodMonitor, problems)
    check_custom_resource(str(rules_path), resource, operator.PrometheusRule, problems)
    check_pod_monitor(monitor_path, monitor, read(DAEMONSET), problems)

    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    relabelings = endpoint["relabelings"]
    (job,) = [
        each["replacement"] for each in relabelings if each["targetLabel"] == "job"
    ]
    target_labels = OPERATORS_LABELS | {each["targetLabel"] for each in relabelings}
    text = pathlib.Path(exposition).read_text(encoding="utf-8")
    queries = Queries(scraped(text, target_labels), job)

    rules = [rule for group in resource["spec"]["groups"] for rule in group["rules"]]
    alerts = check_rules(rules_path, rules, queries, problems)
    check_tests(tests_path, tests, alerts, endpoint["interval"], queries, problems)
    check_dashboard(directory / "dashboard.json", queries, problems)
    run_promtool(promtool, directory, resource["spec"], problems)
    return problems


def read(path: pathlib.Path) -> Any:
    """The first document of a file; daemonset.yaml has another one."""
    with open(path, encoding="utf-8") as file:
        return next(yaml.safe_load_all(file))


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    exposition, promtool, *given = sys.argv[1:]
    directory = pathlib.Path(*given or [os.path.relpath(DEPLOY / "monitoring")])
    try:
        problems = check(exposition, promtool, directory)
    except (ValueError, KeyError, TypeError, OSError, yaml.YAMLError) as error:
        sys.exit(f"error: {directory}: {type(error).__name__}: {error}")

    for problem in problems.found:
        print(f"error: {problem}", file=sys.stderr)
    if problems.found:
        sys.exit(1)
    print(
        f"{directory} is valid, asks for what {exposition} has, "
        "and passes promtool's tests"
    )


if __name__ == "__main__":
    main()
