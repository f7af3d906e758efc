#!/usr/bin/env python3
"""Checks what puts this program in upstream's place: deploy/kustomize/, by building it,
and deploy/helm-values/, by deploy/helm-charts.yaml. Before that, all YAML of deploy/ is
read strictly. `make try-deploy` calls this in an environment that has
deploy/requirements.txt.

    deploy/check-swaps.py LIVENESSPROBE KUSTOMIZE ...

LIVENESSPROBE is the program, which is started with the charts' arguments. A KUSTOMIZE
is a command that builds the directory that is its last argument.
"""

import copy
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes_validate
import yaml

import check

DEPLOY = pathlib.Path(os.path.relpath(pathlib.Path(__file__).parent))
OURS = f"csi-livenessprobe:{check.version()}"
# What that name is short for.
IN_FULL = f"docker.io/library/{OURS}"
DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHERS = ["example.org/livenessprobe:v2.19.0", "registry.k8s.io/sig-storage/csi-resizer:v2.2.0"]


class Wrong(Exception):
    """What is wrong, and where."""


# YAML


class Strict(yaml.SafeLoader):
    """Refuses a key that is given twice, of which PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise Wrong(f"{str(key.start_mark).strip()}: there are two keys {key.value}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_all(path: pathlib.Path) -> list:
    with open(path, encoding="utf-8") as file:
        try:
            return list(yaml.load_all(file, Strict))
        except yaml.YAMLError as error:
            raise Wrong(f"{path}: {error}") from None


def read(path: pathlib.Path) -> Any:
    (document,) = read_all(path)
    return document


# Charts


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, dict) or not tree:
        yield path, tree
        return
    for key, value in tree.items():
        yield from leaves(value, f"{path}.{key}".lstrip("."))


def value_of(tree: Any, path: str, default: Any = None) -> Any:
    for key in path.split("."):
        if not isinstance(tree, dict) or key not in tree:
            return default
        tree = tree[key]
    return tree


def merged(defaults: Any, values: Any) -> Any:
    """As Helm merges: maps key by key, all else whole."""
    if not isinstance(defaults, dict) or not isinstance(values, dict):
        return copy.deepcopy(values)
    both = copy.deepcopy(defaults)
    for key, value in values.items():
        both[key] = merged(defaults[key], value) if key in defaults else value
    return both


def image_of(rule: dict, values: dict) -> str:
    """The image's name as the chart's templates put it together."""
    repository = value_of(values, rule["repository"])
    if "before-slash" in rule and repository.startswith("/"):
        repository = value_of(values, rule["before-slash"]) + repository
    if "registries" in rule:
        given = [value_of(values, key) for key in rule["registries"]]
        registry = next((each for each in given if each), "docker.io")
        repository = f"{registry}/{repository}"
    return f"{repository}:{value_of(values, rule['tag'])}"


def in_full(image: str) -> str:
    """What a container runtime reads an image's name as."""
    first, slash, rest = image.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", image
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    return f"{first}/{rest}"


def check_values(path: pathlib.Path, chart: dict, index: str) -> None:
    """That a file for a chart has keys of the chart, and our image."""
    values, defaults = read(path), chart["defaults"]
    known = dict(leaves(defaults))
    for key, value in leaves(values):
        if key not in known:
            raise Wrong(f"{path}: the chart has no key {key}; there are: {', '.join(known)}")
        if type(value) is not type(known[key]):
            raise Wrong(
                f"{path}: {key} is {value!r}; the chart has {known[key]!r}, of another type"
            )
    whole = merged(defaults, values)
    if whole == defaults:
        raise Wrong(f"{path}: changes nothing of the chart")
    if "image" in chart:
        before, after = image_of(chart["image"], defaults), image_of(chart["image"], whole)
        # Or the rule may not be the templates'.
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*/livenessprobe:v[\w.-]+", before):
            raise Wrong(f"{path}: the chart's own image would be {before}")
        if in_full(after) != IN_FULL:
            raise Wrong(f"{path}: the image is {in_full(after)}, not {IN_FULL}")
    if "containers" in chart:
        check_containers(path, value_of(whole, chart["containers"]))
    check_words(path, chart, index)


def check_containers(path: pathlib.Path, containers: list[dict]) -> None:
    (container,) = containers
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "any"},
        "spec": {"containers": [container]},
    }
    validate(path, pod)
    holds(path, check.ours(container))


def check_words(path: pathlib.Path, chart: dict, index: str) -> None:
    """That the file's head and the index tell of this chart, of this version."""
    head = path.read_text(encoding="utf-8").split("\n#\n")[0].replace("\n# ", " ")
    (row,) = [line for line in index.splitlines() if f"]({path.relative_to(DEPLOY)})" in line]
    for text, place in ((head, path), (row, DEPLOY / "README.md")):
        for name in chart["charts"]:
            if not re.search(rf"\b{name}\b", text):
                raise Wrong(f"{place}: nothing about the chart {name} for {path.name}")
        if f" {chart['version']}" not in text:
            raise Wrong(f"{place}: not about version {chart['version']} of {path.name}")
    if f"| {chart['windows']} |" not in row:
        raise Wrong(f"{DEPLOY / 'README.md'}: {path.name} is {chart['windows']} with Windows")
    for key, _ in leaves(read(path)):
        if f"`{key}`" not in row:
            raise Wrong(f"{DEPLOY / 'README.md'}: {key} of {path.name} is missing")


def check_arguments(program: str, words: list[str]) -> None:
    """That it starts and listens, with a socket and a port of its own."""
    with tempfile.TemporaryDirectory() as directory:
        given = [
            re.sub(r"/csi(-data)?/csi\.sock", f"{directory}/csi.sock", word) for word in words
        ]
        given = [
            re.sub(r"^(--h(?:ealth-port=|ttp-endpoint=.*:))\d+$", r"\g<1>0", word)
            for word in given
        ]
        # 9808 may be taken here.
        if not any(word.startswith(("--health-port", "--http-endpoint")) for word in given):
            given.append("--http-endpoint=127.0.0.1:0")
        started = subprocess.Popen([program, *given], stderr=subprocess.PIPE, text=True)
        assert started.stderr is not None
        # One that says nothing is ended, so that its log does.
        timer = threading.Timer(10, started.kill)
        timer.start()
        try:
            said = ""
            for line in started.stderr:
                said += line
                if '"Listening"' in line:
                    return
            raise Wrong(f"{' '.join(words)}: it does not listen:\n{said}")
        finally:
            timer.cancel()
            started.kill()
            started.communicate()


def check_charts(program: str) -> None:
    record = DEPLOY / "helm-charts.yaml"
    charts = read(record)
    directory = DEPLOY / "helm-values"
    files = {path.name for path in directory.iterdir()}
    if files != set(charts):
        raise Wrong(f"{directory} has {sorted(files)}, {record} {sorted(charts)}")
    index = (DEPLOY / "README.md").read_text(encoding="utf-8")
    for name, chart in charts.items():
        check_values(directory / name, chart, index)
        for words in chart.get("args", []):
            check_arguments(program, words)
        if "containers" in chart:
            values = read(directory / name)
            for container in value_of(values, chart["containers"]):
                check_arguments(program, container["args"])
        print(f"{directory / name} has keys of {', '.join(chart['charts'])} {chart['version']}")


# Kustomizations


def validate(place: object, manifest: dict) -> None:
    try:
        kubernetes_validate.validate(manifest, check.KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(part) for part in error.path)
        raise Wrong(f"{place}: {where}: {error.message}") from None


def holds(place: object, claims: dict[str, bool]) -> None:
    wrong = [claim for claim, is_so in claims.items() if not is_so]
    if wrong:
        raise Wrong(f"{place}: does not hold: {'; '.join(wrong)}")


Build = Callable[[pathlib.Path], dict[str, dict]]


def builder(command: str) -> Build:
    def build(directory: pathlib.Path) -> dict[str, dict]:
        done = subprocess.run(
            [*shlex.split(command), str(directory)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Wrong(f"{command} {directory}:\n{done.stderr.strip()}")
        return by_name(list(yaml.load_all(done.stdout, Strict)))

    return build


def by_name(manifests: list[dict]) -> dict[str, dict]:
    named = {}
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if name in named:
            raise Wrong(f"there are two of {name}")
        named[name] = manifest
    return named


def all_containers(manifest: dict) -> list[dict]:
    spec = check.pod(manifest)
    return [*spec.get("initContainers", []), *spec["containers"]]


def system_of(manifest: dict) -> str:
    return check.pod(manifest)["nodeSelector"]["kubernetes.io/os"]


def check_example(build: Build, component: list[str]) -> None:
    """That what is for Linux has our image in upstream's place, and all else is as it
    was."""
    directory = DEPLOY / "kustomize" / "example"
    expected = by_name(read_all(directory / "driver.yaml"))
    swapped = 0
    for manifest in expected.values():
        if system_of(manifest) == "windows":
            continue
        for container in all_containers(manifest):
            if container["image"].split(":")[0] in component:
                container["image"] = OURS
                swapped += 1
    systems = {system_of(manifest) for manifest in expected.values()}
    if swapped == 0 or systems != {"linux", "windows"}:
        raise Wrong(f"{directory}: it shows nothing: {swapped} images, {systems}")
    built = build(directory)
    for name in sorted(expected.keys() | built.keys()):
        if expected.get(name) != built.get(name):
            raise Wrong(f"{directory}: {name} is not as it should be:\n{built.get(name)}")
        validate(directory, built[name])


def write(directory: pathlib.Path, name: str, *documents: dict) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(yaml.safe_dump_all(documents), encoding="utf-8")


def kustomization(**fields: Any) -> dict:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return kind | fields


def check_names(build: Build, component: list[str], work: pathlib.Path) -> None:
    """That each name is matched however it is written, and no other one; and that an
    image of one's own registry is had as the component says."""
    written = [
        f"{name}{version}"
        for name in component
        for version in ("", ":v2.19.0", f"@{DIGEST}", f":v2.19.0@{DIGEST}")
    ]
    images = [*written, *OTHERS]
    containers = [{"name": f"c{at}", "image": each} for at, each in enumerate(images)]
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "any"},
        "spec": {"containers": containers},
    }
    write(work, "pod.yaml", manifest)
    everything = {
        "resources": ["pod.yaml"],
        "components": [relative(DEPLOY / "kustomize" / "component", work)],
    }
    elsewhere = "registry.example.org/csi-livenessprobe"
    own = [{"name": "csi-livenessprobe", "newName": elsewhere}]
    for fields, ours in (
        (everything, OURS),
        (everything | {"images": own}, f"{elsewhere}:{check.version()}"),
    ):
        write(work, "kustomization.yaml", kustomization(**fields))
        (built,) = build(work).values()
        wanted = [ours] * len(written) + OTHERS
        for before, after, want in zip(
            images, [each["image"] for each in all_containers(built)], wanted, strict=True
        ):
            if after != want:
                raise Wrong(f"component: {before} becomes {after}, not {want}")


def check_ceph(build: Build, work: pathlib.Path) -> None:
    """That the node plugins of both charts get a sidecar that kubelet asks, and nothing
    else changes."""
    manifests = []
    plugins = (("ceph-csi-rbd", "csi-rbdplugin"), ("ceph-csi-cephfs", "csi-cephfsplugin"))
    for chart, driver in plugins:
        for component in ("nodeplugin", "provisioner"):
            manifests.append(ceph_manifest(chart, component, driver))
    write(work, "charts.yaml", *manifests)
    fields = {
        "resources": ["charts.yaml"],
        "components": [relative(DEPLOY / "kustomize" / "ceph-csi", work)],
    }
    write(work, "kustomization.yaml", kustomization(**fields))
    built, before = build(work), by_name(manifests)
    ports = []
    for chart, driver in plugins:
        name = f"Deployment {chart}-provisioner"
        if built[name] != before[name]:
            raise Wrong(f"ceph-csi: {name} is changed, too")
        plugin = built[f"DaemonSet {chart}-nodeplugin"]
        validate("ceph-csi", plugin)
        named = check.by_name(plugin)
        sidecar, probed = named.pop("liveness-probe"), named[driver]
        flags = check.flags_of(sidecar["args"])
        probe = probed.pop("livenessProbe")
        asked = f"{probe['httpGet']['host']}:{probe['httpGet']['port']}"
        ports.append(probe["httpGet"]["port"])
        claims = check.ours(sidecar) | {
            "it asks the sidecar's address": flags["http-endpoint"] == asked,
            "strangers do not reach it": asked.startswith("127.0.0.1:"),
            "the sidecar answers before kubelet gives up": check.seconds(
                flags["probe-timeout"]
            )
            < probe["timeoutSeconds"],
            "it sees the driver's socket": check.sees(sidecar, flags["csi-address"])
            and check.sees(probed, flags["csi-address"]),
            "the other containers are as they were": named
            == check.by_name(before[f"DaemonSet {chart}-nodeplugin"]),
        }
        holds(f"ceph-csi: {chart}", claims)
    if len(set(ports)) != len(ports):
        raise Wrong(f"ceph-csi: both are on the node's network, on port {ports[0]}")


def check_selinux(build: Build, work: pathlib.Path) -> None:
    """That the sidecar gets another type of SELinux's, and nothing else changes."""
    source = DEPLOY / "kubernetes" / "daemonset.yaml"
    write(work, "driver.yaml", *read_all(source))
    fields = {
        "resources": ["driver.yaml"],
        "components": [relative(DEPLOY / "kustomize" / "selinux", work)],
    }
    write(work, "kustomization.yaml", kustomization(**fields))
    built, expected = build(work), by_name(read_all(source))
    for manifest in expected.values():
        if manifest["kind"] == "DaemonSet":
            sidecar = check.by_name(manifest)["liveness-probe"]
            sidecar["securityContext"]["seLinuxOptions"] = {"type": "spc_t"}
            holds("selinux", check.ours(sidecar))
    for manifest in [*built.values(), *expected.values()]:
        validate("selinux", manifest)
        # kustomize puts what it has changed first.
        check.containers(manifest).sort(key=lambda container: container["name"])
    if built != expected:
        raise Wrong(f"selinux: {source} is not as it should be:\n{built}")


def ceph_manifest(chart: str, component: str, driver: str) -> dict:
    """As far as the component is about it."""
    labels = {"app": chart, "component": component}
    mount = {"name": "socket-dir", "mountPath": "/csi"}
    containers = [
        {"name": each, "image": f"example.org/{each}:v1", "volumeMounts": [mount]}
        for each in ("driver-registrar", driver)
    ]
    spec = {
        "hostNetwork": True,
        "containers": containers,
        "volumes": [{"name": "socket-dir", "hostPath": {"path": "/csi"}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet" if component == "nodeplugin" else "Deployment",
        "metadata": {"name": f"{chart}-{component}", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def relative(path: pathlib.Path, work: pathlib.Path) -> str:
    """A component must be given by a path that is not absolute."""
    up = "/".join([".."] * (len(work.resolve().parts) - 1))
    return f"{up}{path.resolve()}"


def check_kustomizations(command: str) -> None:
    images = read(DEPLOY / "kustomize" / "component" / "kustomization.yaml")["images"]
    component = [each["name"] for each in images]
    if len(set(component)) != len(component):
        raise Wrong(f"component: a name is there twice: {component}")
    build = builder(command)
    check_example(build, component)
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        check_names(build, component, work / "names")
        check_ceph(build, work / "ceph")
        check_selinux(build, work / "selinux")
    print(f"{DEPLOY / 'kustomize'} is as it says, built by {command}")


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    program, *commands = sys.argv[1:]
    try:
        files = [path for path in DEPLOY.rglob("*.y*ml") if path.is_file()]
        for path in files:
            read_all(path)
        print(f"{len(files)} files of {DEPLOY} are YAML, and no key is there twice")
        check_charts(program)
        for command in commands:
            check_kustomizations(command)
    except Wrong as error:
        sys.exit(f"error: {error}")
    except (ValueError, KeyError, TypeError, OSError) as error:
        sys.exit(f"error: {DEPLOY}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
