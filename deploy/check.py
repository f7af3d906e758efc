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


def containers(manifest: dict) -> list[dict]:
    spec = manifest["spec"]
    spec = spec.get("template", {}).get("spec", spec)
    return spec.get("containers", [])


def check_sidecar(manifest: dict) -> bool:
    """Whether it has the sidecar; an error tells what is wrong with it."""
    by_name = {container["name"]: container for container in containers(manifest)}
    sidecar = by_name.get("liveness-probe")
    if sidecar is None:
        return False
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in sidecar["args"])
    (probed,) = [each for each in by_name.values() if "livenessProbe" in each]
    probe = probed["livenessProbe"]
    (port,) = [
        each for each in probed["ports"] if each["name"] == probe["httpGet"]["port"]
    ]
    security = sidecar["securityContext"]
    allowed = {"csi-address", "health-port", "probe-timeout"}
    directory = flags["csi-address"].rpartition("/")[0]
    holds = {
        f"its flags are among {sorted(allowed)}": set(flags) <= allowed,
        f"its image is of version {version()}": sidecar["image"]
        == f"csi-livenessprobe:{version()}",
        "it is root": security["runAsUser"] == 0,
        "it has the runtime's seccomp profile": security["seccompProfile"]
        == {"type": "RuntimeDefault"},
        "the probe is on the driver": probed is not sidecar,
        "it asks the sidecar's port": port["containerPort"] == int(flags["health-port"]),
        "the sidecar answers before kubelet gives up": seconds(flags["probe-timeout"])
        < probe["timeoutSeconds"],
        "it asks for 4 MiB": sidecar["resources"]["requests"]["memory"] == "4Mi",
        "it has 16 MiB at most": sidecar["resources"]["limits"] == {"memory": "16Mi"},
        "it is hardened": security["readOnlyRootFilesystem"]
        and not security["allowPrivilegeEscalation"]
        and security["capabilities"] == {"drop": ["ALL"]},
        "it is pulled only where it is missing": sidecar["imagePullPolicy"]
        == "IfNotPresent",
        "it sees the driver's socket": all(
            any(mount["mountPath"] == directory for mount in each["volumeMounts"])
            for each in (sidecar, probed)
        ),
    }
    wrong = [claim for claim, is_so in holds.items() if not is_so]
    if wrong:
        raise ValueError("does not hold: " + "; ".join(wrong))
    return True


def main() -> None:
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            manifests = list(yaml.safe_load_all(file))
        try:
            for manifest in manifests:
                kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            if not any([check_sidecar(manifest) for manifest in manifests]):
                raise ValueError("there is no container liveness-probe")
        except kubernetes_validate.ValidationError as error:
            # All of it is the whole schema.
            place = ".".join(str(part) for part in error.path)
            sys.exit(f"error: {path}: {place}: {error.message}")
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f"error: {path}: {type(error).__name__}: {error}")
        print(f"{path} is valid for Kubernetes {KUBERNETES}")


if __name__ == "__main__":
    main()
