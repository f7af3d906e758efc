#!/usr/bin/env python3
"""Checks the manifests of deploy/, and each way in which an image of ours replaces
upstream's: Helm values against deploy/helm-charts.yaml, kustomizations by building them.
Each container of ours is valid for Kubernetes, is as deploy/README.md describes it, and
has arguments with which the program starts. `make try-deploy` calls this in an
environment that has deploy/requirements.txt.

    deploy/check.py BINARIES [KUSTOMIZE]

BINARIES is the directory of the built programs. KUSTOMIZE is a command that builds the
directory that is its last argument; without it no kustomization is checked.
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
from collections.abc import Mapping
from typing import Any, NoReturn

import kubernetes_validate
import yaml

DEPLOY = pathlib.Path(os.path.relpath(pathlib.Path(__file__).parent))
KUBERNETES = "1.37"
# Each image of ours, and its program. Upstream's image has the program's name.
PROGRAMS = {"csi-livenessprobe": "livenessprobe"}
(VERSION,) = re.findall(
    r'^version = "(.*)"$', (DEPLOY.parent / "Cargo.toml").read_text(), re.MULTILINE
)
# What holds for each container of ours.
OURS = {
    "imagePullPolicy": "IfNotPresent",
    "resources.requests.memory": "4Mi",
    "resources.limits": {"memory": "16Mi"},
    "securityContext.runAsUser": 0,
    "securityContext.allowPrivilegeEscalation": False,
    "securityContext.readOnlyRootFilesystem": True,
    "securityContext.capabilities": {"drop": ["ALL"]},
    "securityContext.seccompProfile": {"type": "RuntimeDefault"},
}
# How kubelet asks for the driver's health, where it is not by httpGet.
ASKED = {"exec-probe.yaml": "exec", "periodic.yaml": None, "one-for-all.yaml": None}
# An argument with a socket, and one with a port; the first group is what precedes it.
SOCKET = re.compile(r"(=|=unix://)(/[^=]*\.sock)$")
PORT = re.compile(r"^(--health-port=|--http-endpoint=.*:)\d+$")


def read_all(path: pathlib.Path) -> list:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def read(path: pathlib.Path) -> Any:
    (document,) = read_all(path)
    return document


def fail(message: str) -> NoReturn:
    sys.exit(f"error: {message}")


def require(place: object, claims: Mapping[str, object]) -> None:
    wrong = [claim for claim, holds in claims.items() if not holds]
    if wrong:
        fail(f"{place}: this does not hold: {'; '.join(wrong)}")


def pod_of(manifest: dict) -> dict:
    return manifest["spec"].get("template", manifest)["spec"]


def containers(manifest: dict) -> list[dict]:
    pod = pod_of(manifest)
    return [*pod.get("initContainers", []), *pod["containers"]]


def program_of(container: dict) -> str | None:
    return PROGRAMS.get(container["image"].partition(":")[0])


def flags_of(words: list[str]) -> dict[str, str]:
    pairs = (word.removeprefix("--").partition("=") for word in words)
    return {name: value for name, _, value in pairs}


def sees(container: dict, path: str) -> bool:
    return any(path.startswith(each["mountPath"] + "/") for each in container["volumeMounts"])


def validate(place: object, manifest: dict) -> None:
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(part) for part in error.path)
        fail(f"{place}: {where}: {error.message}")


def check_pod(place: object, manifest: dict, asked: str | None, binaries: pathlib.Path) -> dict:
    """Checks a pod with one container of ours, and returns that container."""
    validate(place, manifest)
    (ours,) = (each for each in containers(manifest) if program_of(each))
    args = ours["args"]
    flags = flags_of(args)
    endpoint = flags.get("http-endpoint", "")
    claims = {f"its {key} is {value}": value_of(ours, key) == value for key, value in OURS.items()}
    sockets = [found[2] for word in args if (found := SOCKET.search(word))]
    claims |= {
        f"our image is of version {VERSION}": ours["image"].endswith(f":{VERSION}"),
        "it mounts each socket's directory": all(sees(ours, each) for each in sockets),
        "on the node's network, and only there, it listens on the loopback address": (
            endpoint.startswith("127.0.0.1:") == pod_of(manifest).get("hostNetwork", False)
        ),
    }
    probed = [each for each in containers(manifest) if "livenessProbe" in each]
    kinds = [
        kind for each in probed for kind in each["livenessProbe"] if kind in ("httpGet", "exec")
    ]
    claims[f"kubelet asks by {asked}"] = kinds == ([asked] if asked else [])
    for driver in probed:
        probe = driver["livenessProbe"]
        if "exec" in probe:
            program, *args = probe["exec"]["command"]
            flags = flags_of(args)
            claims |= {
                "ours installs what the driver runs": ours["args"] == [f"--install={program}"],
                "both mount its directory": sees(ours, program) and sees(driver, program),
                "it makes one probe": "once" in flags,
            }
        else:
            host, port = probe["httpGet"].get("host", ""), probe["httpGet"]["port"]
            ports = {each["name"]: each["containerPort"] for each in driver.get("ports", [])}
            claims["kubelet asks where it listens"] = f"{host}:{ports.get(port, port)}" == endpoint
        timeout = int(flags["probe-timeout"].removesuffix("s"))
        claims |= {
            "the probe is on the driver": driver is not ours,
            "the answer comes before kubelet gives up": timeout < probe["timeoutSeconds"],
            "the driver mounts the socket's directory": sees(driver, flags["csi-address"]),
        }
    require(place, claims)
    # tests/integration/deploy.rs runs those that do not listen.
    if endpoint:
        start(place, binaries / str(program_of(ours)), ours["args"])
    return ours


def start(place: object, program: pathlib.Path, args: list[str]) -> None:
    """Starts the program, with sockets and a port of its own, until it listens."""
    with tempfile.TemporaryDirectory() as directory:
        given = [SOCKET.sub(rf"\1{directory}\2", PORT.sub(r"\g<1>0", word)) for word in args]
        # The default port may be in use on this machine.
        if not flags_of(args).keys() & {"health-port", "http-endpoint"}:
            given.append("--http-endpoint=127.0.0.1:0")
        with subprocess.Popen([program, *given], stderr=subprocess.PIPE, text=True) as started:
            # If the program neither listens nor exits, this ends its log and the loop.
            timer = threading.Timer(10, started.kill)
            timer.start()
            log = ""
            for line in started.stderr or ():
                log += line
                if '"Listening"' in line:
                    break
            timer.cancel()
            started.kill()
    if '"Listening"' not in log:
        fail(f"{place}: with {' '.join(args)} it does not listen:\n{log}")


def check_manifests(binaries: pathlib.Path) -> None:
    directory = DEPLOY / "kubernetes"
    for path in sorted(directory.iterdir()):
        # Further documents of a file belong to the driver.
        ours, *others = read_all(path)
        for manifest in others:
            validate(path, manifest)
        container = check_pod(path, ours, ASKED.get(path.name, "httpGet"), binaries)
        if path.name in ("pod.yaml", "daemonset.yaml"):
            own = flags_of(container["args"]).keys() - {
                "csi-address",
                "http-endpoint",
                "probe-timeout",
            }
            require(path, {"one line rolls it back to upstream": not own})
    print(f"{directory} is valid for Kubernetes {KUBERNETES}")


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {path: tree}
    inner = (leaves(value, f"{path}.{key}".lstrip(".")) for key, value in tree.items())
    return {key: value for each in inner for key, value in each.items()}


def value_of(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree[key]
    return tree


def merged(defaults: Any, values: Any) -> Any:
    """Merges as Helm does, and as kustomize patches: key by key, all but maps whole."""
    if not isinstance(defaults, dict) or not isinstance(values, dict):
        return copy.deepcopy(values)
    return defaults | {key: merged(defaults.get(key), value) for key, value in values.items()}


def image_of(rule: dict, values: dict) -> str:
    """Puts the image's name together as the chart's templates do."""
    repository = value_of(values, rule["repository"])
    if "before-slash" in rule and repository.startswith("/"):
        repository = value_of(values, rule["before-slash"]) + repository
    if "registries" in rule:
        given = (value_of(values, key) for key in rule["registries"])
        repository = f"{next(filter(None, given), 'docker.io')}/{repository}"
    return f"{repository}:{value_of(values, rule['tag'])}"


def check_chart(path: pathlib.Path, chart: dict, row: str, binaries: pathlib.Path) -> None:
    values, defaults = read(path), chart["defaults"]
    known, whole = leaves(defaults), merged(defaults, values)
    claims = {
        "it changes something": whole != defaults,
        f"README.md's row says {chart['windows']}": f"| {chart['windows']} |" in row,
    }
    for key, value in leaves(values).items():
        claims |= {
            f"the chart has the key {key}": key in known,
            f"{key} is of the chart's type": type(value) is type(known.get(key)),
            f"README.md's row names {key}": f"`{key}`" in row,
        }
    head = path.read_text(encoding="utf-8").split("\n#\n")[0].replace("\n# ", " ")
    for text, document in ((head, "its head"), (row, "README.md's row")):
        for word in (*chart["charts"], chart["version"]):
            claims[f"{document} names {word}"] = bool(re.search(rf"\b{re.escape(word)}\b", text))
    for image, rule in chart.get("images", {}).items():
        program = PROGRAMS[image]
        before, after = image_of(rule, defaults), image_of(rule, whole)
        # A runtime reads a name without a registry as one of docker.io/library.
        after = after.removeprefix("docker.io/").removeprefix("library/")
        claims |= {
            # Otherwise the rule is not the one of the chart's templates.
            f"{before} is upstream's image": bool(
                re.fullmatch(rf"[\w.-]+(/[\w.-]+)*/{program}:v[\w.-]+", before)
            ),
            f"{after} is our image": after == f"{image}:{VERSION}",
        }
        for args in rule["args"]:
            start(path, binaries / program, args)
    require(path, claims)
    if "containers" in chart:
        check_pod(path, pod("any", value_of(whole, chart["containers"])), None, binaries)
    print(f"{path} has keys of {', '.join(chart['charts'])} {chart['version']}")


def pod(name: str, given: list[dict]) -> dict:
    metadata, spec = {"name": name}, {"containers": given}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def check_charts(binaries: pathlib.Path) -> None:
    charts = read(DEPLOY / "helm-charts.yaml")
    directory = DEPLOY / "helm-values"
    recorded = charts.keys() == {path.name for path in directory.iterdir()}
    require(directory, {"helm-charts.yaml has the same files": recorded})
    lines = (DEPLOY / "README.md").read_text(encoding="utf-8").splitlines()
    for name, chart in charts.items():
        (row,) = (line for line in lines if f"](helm-values/{name})" in line)
        check_chart(directory / name, chart, row, binaries)


class Kustomize:
    """Builds kustomizations in a directory of its own."""

    def __init__(self, command: str, work: pathlib.Path) -> None:
        self.command, self.work = command, work

    def build(self, directory: pathlib.Path) -> list[dict]:
        command = [*shlex.split(self.command), str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            fail(f"{shlex.join(command)}:\n{done.stderr.strip()}")
        return list(yaml.safe_load_all(done.stdout))

    def with_component(self, name: str, resources: list[dict], **fields: Any) -> list[dict]:
        # kustomize refuses an absolute path.
        component = os.path.relpath((DEPLOY / "kustomize" / name).resolve(), self.work)
        fields |= {"resources": ["resources.yaml"], "components": [component]}
        for file, documents in (("resources.yaml", resources), ("kustomization.yaml", [fields])):
            (self.work / file).write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        return self.build(self.work)


def by_name(manifests: list[dict]) -> dict[str, dict]:
    """Sorts the containers, because kustomize moves those that it patches to the front."""
    named = {}
    for manifest in copy.deepcopy(manifests):
        if "template" in manifest["spec"]:
            pod_of(manifest)["containers"].sort(key=lambda each: each["name"])
        named[f"{manifest['kind']} {manifest['metadata']['name']}"] = manifest
    return named


def compare(place: str, built: list[dict], expected: list[dict]) -> None:
    have, want = by_name(built), by_name(expected)
    for name in sorted(have.keys() | want.keys()):
        if have.get(name) != want.get(name):
            fail(f"{place}: {name} is not as expected:\n{yaml.safe_dump(have.get(name))}")
        validate(place, have[name])


def patched(manifest: dict, patch: pathlib.Path) -> dict:
    """Merges a patch's containers into those of the same name."""
    manifest = copy.deepcopy(manifest)
    named = {each["name"]: each for each in pod_of(manifest)["containers"]}
    for each in pod_of(read(patch))["containers"]:
        named[each["name"]] = merged(named.get(each["name"]), each)
    pod_of(manifest)["containers"] = list(named.values())
    return manifest


def check_images(kustomize: Kustomize) -> None:
    """Checks that the component matches each of its names however it is written, and no
    other, that a registry of the user's own comes after it, and that the example changes
    nothing but the image on Linux."""
    digest = "sha256:" + "0123456789abcdef" * 4
    images = read(DEPLOY / "kustomize" / "component" / "kustomization.yaml")["images"]
    upstream = {each["name"]: each["newName"] for each in images}
    require("component", {"it has each name once": len(upstream) == len(images)})
    others = ["example.org/livenessprobe:v2.19.0", "registry.k8s.io/sig-storage/csi-resizer:v2.2.0"]
    wanted = {
        f"{name}{version}": ours
        for name, ours in upstream.items()
        for version in ("", ":v2.19.0", f"@{digest}", f":v2.19.0@{digest}")
    }
    given = [{"name": f"c{at}", "image": each} for at, each in enumerate([*wanted, *others])]
    for registry in ("", "registry.example.org/"):
        own = [{"name": ours, "newName": f"{registry}{ours}"} for ours in PROGRAMS if registry]
        (built,) = kustomize.with_component("component", [pod("any", given)], images=own)
        for before, after in zip([*wanted, *others], containers(built), strict=True):
            ours = f"{registry}{wanted[before]}:{VERSION}" if before in wanted else before
            claim = f"{before} becomes {ours}, not {after['image']}"
            require("component", {claim: after["image"] == ours})

    directory = DEPLOY / "kustomize" / "example"
    linux, windows = read_all(directory / "driver.yaml")
    on_linux, on_windows = (
        [each for each in containers(manifest) if each["image"].split(":")[0] in upstream]
        for manifest in (linux, windows)
    )
    require(directory, {"Linux and Windows have upstream's image": on_linux and on_windows})
    for each in on_linux:
        each["image"] = f"{upstream[each['image'].split(':')[0]]}:{VERSION}"
    compare(str(directory), kustomize.build(directory), [linux, windows])


def check_ceph(kustomize: Kustomize, binaries: pathlib.Path) -> None:
    """Checks that both charts' node plugins, and nothing else, get a sidecar and a probe."""
    before, after, sidecars = [], [], []
    for driver in ("rbd", "cephfs"):
        plugin = ceph_manifest("DaemonSet", f"ceph-csi-{driver}", "nodeplugin", driver)
        provisioner = ceph_manifest("Deployment", f"ceph-csi-{driver}", "provisioner", driver)
        both = patched(plugin, DEPLOY / "kustomize" / "ceph-csi" / f"{driver}.yaml")
        sidecars.append(check_pod(f"ceph-csi: {driver}", both, "httpGet", binaries))
        before += [plugin, provisioner]
        after += [both, provisioner]
    compare("ceph-csi", kustomize.with_component("ceph-csi", before), after)
    ports = {flags_of(each["args"])["http-endpoint"] for each in sidecars}
    require("ceph-csi", {"each driver has a port of its own": len(ports) == len(sidecars)})


def ceph_manifest(kind: str, chart: str, component: str, driver: str) -> dict:
    """Has as much of the chart's manifest as the component depends on."""
    labels = {"app": chart, "component": component}
    mount = {"name": "socket-dir", "mountPath": "/csi"}
    given = [
        {"name": name, "image": f"example.org/{name}:v1", "volumeMounts": [mount]}
        for name in ("driver-registrar", f"csi-{driver}plugin")
    ]
    spec = {"hostNetwork": True, "containers": given}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": f"{chart}-{component}", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def check_selinux(kustomize: Kustomize, binaries: pathlib.Path) -> None:
    """Checks that the sidecar gets another SELinux type, and nothing else changes."""
    daemonset, *others = read_all(DEPLOY / "kubernetes" / "daemonset.yaml")
    after = patched(daemonset, DEPLOY / "kustomize" / "selinux" / "selinux.yaml")
    compare("selinux", kustomize.with_component("selinux", [daemonset, *others]), [after, *others])
    check_pod("selinux", after, "httpGet", binaries)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    binaries = pathlib.Path(sys.argv[1])
    check_manifests(binaries)
    check_charts(binaries)
    for command in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as work:
            kustomize = Kustomize(command, pathlib.Path(work).resolve())
            check_images(kustomize)
            check_ceph(kustomize, binaries)
            check_selinux(kustomize, binaries)
        print(f"{DEPLOY / 'kustomize'} is as it says, built by {command}")


if __name__ == "__main__":
    main()
