#!/usr/bin/env python3
"""Writes an image's name into an OCI layout, for whoever imports it.

    packaging/name_image.py --whole IMAGE     prints the whole name, without a tag
    packaging/name_image.py LAYOUT NAME:TAG   writes it into the layout

buildah writes one of the two annotations that are looked for, and the name as it
was given. containerd (`ctr images import`, k3s) reads io.containerd.image.name
first, Podman and Docker org.opencontainers.image.ref.name, and all three want it
whole.
"""

import json
import pathlib
import re
import sys

# One part of a path, as every registry takes it.
PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?")


def whole(name: str) -> str:
    """The name with its host and path, as containerd completes the `image:` of a
    pod, and so looks for it (github.com/distribution/reference, "normalize")."""
    host, slash, path = name.partition("/")
    if not (slash and ("." in host or ":" in host or host == "localhost")):
        host, path = "docker.io", name
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    if not HOST.fullmatch(host) or not all(map(PART.fullmatch, path.split("/"))):
        sys.exit(
            f"error: IMAGE={name} is no name of an image; right would be"
            " csi-livenessprobe or registry.example:5000/storage/csi-livenessprobe,"
            " lower case and without a tag"
        )
    return f"{host}/{path}"


def main() -> None:
    if sys.argv[1] == "--whole":
        print(whole(sys.argv[2]))
        return
    layout, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    path = layout / "index.json"
    index = json.loads(path.read_text())
    (image,) = index["manifests"]
    image["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name,
    }
    path.write_text(json.dumps(index, separators=(",", ":"), sort_keys=True))


if __name__ == "__main__":
    main()
