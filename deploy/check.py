#!/usr/bin/env python3
"""Checks the manifests of deploy/: valid for Kubernetes, and true to what this
project says of the sidecar. `make try-deploy` calls this in an environment that
has kubernetes-validate.

    deploy/check.py MANIFEST ...
"""

import pathlib
import re
import sys

import kubernetes_validate
import yaml

KUBERNETES = "1.37"


def seconds(duration: str) -> float:
    """A Go duration of one unit."""
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60)):
        if duration.endswith(unit):
            return float(duration.removesuffix(unit)) * factor
    raise ValueError(f"not a duration: {duration}")


def version() -> str:
    """The version of this project, from Cargo.toml."""
    manifest = pathlib.Path(__file__).parent.parent / "Cargo.toml"
    (found,) = re.findall(r'^version = "(.*)"$', manifest.read_text(), re.MULTILINE)
    return found


def pod(manifest: dict) -> dict:
    spec = manifest["spec"]
    return spec.get("template", {}).get("spec", spec)


def containers(manifest: dict) -> list[dict]:
    return pod(manifest).get("containers", [])


def processors() -> list[str]:
    """What there is an image for, as nodes are labelled."""
    file = pathlib.Path(__file__).parent.parent / "packaging" / "architectures.sh"
    (names,) = re.findall(r"^ARCHITECTURES='(.*)'$", file.read_text(), re.MULTILINE)
    return ["arm" if name == "armv7" else name for name in names.split()]


def scheduled(manifest: dict) -> dict[str, bool]:
    """What holds for each pod that is ours."""
    rule = {"key": "kubernetes.io/arch", "operator": "In", "values": processors()}
    required = pod(manifest)["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    return {
        "it is scheduled where there is an image for": required["nodeSelectorTerms"]
        == [{"matchExpressions": [rule]}]
    }


def ours(container: dict) -> dict[str, bool]:
    """What holds for each container that runs this program."""
    security = container["securityContext"]
    return {
        f"its image is of version {version()}": container["image"]
        == f"csi-livenessprobe:{version()}",
        "it is root": security["runAsUser"] == 0,
        "it has the runtime's seccomp profile": security["seccompProfile"]
        == {"type": "RuntimeDefault"},
        "it asks for 4 MiB": container["resources"]["requests"]["memory"] == "4Mi",
        "it has 16 MiB at most": container["resources"]["limits"] == {"memory": "16Mi"},
        "it is hardened": security["readOnlyRootFilesystem"]
        and not security["allowPrivilegeEscalation"]
        and security["capabilities"] == {"drop": ["ALL"]},
        "it is pulled only where it is missing": container["imagePullPolicy"]
        == "IfNotPresent",
    }


def flags_of(words: list[str]) -> dict[str, str]:
    pairs = (word.removeprefix("--").partition("=") for word in words)
    return {name: value for name, _, value in pairs}


def by_name(manifest: dict) -> dict[str, dict]:
    return {container["name"]: container for container in containers(manifest)}


def sees(container: dict, socket: str) -> bool:
    """Whether it mounts the socket's directory, or one above it."""
    return any(
        socket.startswith(mount["mountPath"] + "/")
        for mount in container["volumeMounts"]
    )


def check_sidecar(manifest: dict) -> dict[str, bool]:
    """A sidecar that kubelet asks on the driver's behalf."""
    named = by_name(manifest)
    sidecar = named["liveness-probe"]
    flags = flags_of(sidecar["args"])
    (probed,) = [each for each in named.values() if "livenessProbe" in each]
    probe = probed["livenessProbe"]
    (port,) = [
        each for each in probed["ports"] if each["name"] == probe["httpGet"]["port"]
    ]
    # Upstream has these, too: rolling back is one line.
    allowed = {"csi-address", "http-endpoint", "probe-timeout"}
    return ours(sidecar) | {
        f"its flags are among {sorted(allowed)}": set(flags) <= allowed,
        "the probe is on the driver": probed is not sidecar,
        "it asks the sidecar's port": f":{port['containerPort']}"
        == flags["http-endpoint"],
        "the sidecar answers before kubelet gives up": seconds(flags["probe-timeout"])
        < probe["timeoutSeconds"],
        "it sees the driver's socket": sees(sidecar, flags["csi-address"])
        and sees(probed, flags["csi-address"]),
    }


def check_native(manifest: dict) -> dict[str, bool]:
    """A sidecar that is there before the driver and after it."""
    (sidecar,) = pod(manifest)["initContainers"]
    (driver,) = containers(manifest)
    flags = flags_of(sidecar["args"])
    probe, startup = driver["livenessProbe"], sidecar["startupProbe"]
    (port,) = [
        each for each in driver["ports"] if each["name"] == probe["httpGet"]["port"]
    ]
    return ours(sidecar) | {
        "it goes on": sidecar["restartPolicy"] == "Always",
        "it has started when its port is open, with or without a driver": startup.keys()
        == {"tcpSocket", "periodSeconds", "failureThreshold"}
        and f":{startup['tcpSocket']['port']}" == flags["http-endpoint"],
        "the driver's probe asks the sidecar's port": f":{port['containerPort']}"
        == flags["http-endpoint"],
        "the sidecar answers before kubelet gives up": seconds(flags["probe-timeout"])
        < probe["timeoutSeconds"],
        "it sees the driver's socket": sees(sidecar, flags["csi-address"])
        and sees(driver, flags["csi-address"]),
    }


def check_exec(manifest: dict) -> dict[str, bool]:
    """A program that is put into the driver's container and run there."""
    (init,) = pod(manifest)["initContainers"]
    (driver,) = containers(manifest)
    probe = driver["livenessProbe"]
    program, *words = probe["exec"]["command"]
    flags = flags_of(words)
    return ours(init) | {
        "it is installed where it is run": init["args"] == [f"--install={program}"],
        "both see that directory": sees(init, program) and sees(driver, program),
        "it makes one probe": "once" in flags,
        "it ends before kubelet gives up": seconds(flags["probe-timeout"])
        < probe["timeoutSeconds"],
        "it sees the driver's socket": sees(driver, flags["csi-address"]),
    }


def check_periodic(manifest: dict) -> dict[str, bool]:
    """A sidecar that nobody asks."""
    sidecar = by_name(manifest)["liveness-probe"]
    flags = flags_of(sidecar["args"])
    return ours(sidecar) | {
        "it probes at a pace": "interval" in flags,
        "it sees the driver's socket": sees(
            sidecar, flags["endpoint"].removeprefix("unix://")
        ),
        "nobody asks it": not any("livenessProbe" in each for each in containers(manifest)),
    }


def check_one_for_all(manifest: dict) -> dict[str, bool]:
    """One process for all drivers of a node."""
    (ours_alone,) = containers(manifest)
    words = ours_alone["args"]
    extra = [word.split("=", 2)[2] for word in words if word.startswith("--extra-")]
    flags = flags_of(words)
    return ours(ours_alone) | {
        "it is on the node's network": pod(manifest)["hostNetwork"],
        "strangers do not reach it": flags["http-endpoint"].startswith("127.0.0.1:"),
        "there are several drivers": len(extra) > 1,
        "it sees their sockets": all(
            sees(ours_alone, socket) for socket in [flags["csi-address"], *extra]
        ),
    }


CHECKS = {
    "pod.yaml": check_sidecar,
    "daemonset.yaml": check_sidecar,
    "native-sidecar.yaml": check_native,
    "exec-probe.yaml": check_exec,
    "periodic.yaml": check_periodic,
    "one-for-all.yaml": check_one_for_all,
}


def main() -> None:
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            manifests = list(yaml.safe_load_all(file))
        try:
            for manifest in manifests:
                kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            # What else is in the file belongs to the driver.
            holds = CHECKS[pathlib.Path(path).name](manifests[0]) | scheduled(manifests[0])
            wrong = [claim for claim, is_so in holds.items() if not is_so]
            if wrong:
                raise ValueError("does not hold: " + "; ".join(wrong))
        except kubernetes_validate.ValidationError as error:
            # All of it is the whole schema.
            place = ".".join(str(part) for part in error.path)
            sys.exit(f"error: {path}: {place}: {error.message}")
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f"error: {path}: {type(error).__name__}: {error}")
        print(f"{path} is valid for Kubernetes {KUBERNETES}")


if __name__ == "__main__":
    main()
