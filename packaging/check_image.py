#!/usr/bin/env python3
"""Refuses an image in an OCI archive in which a platform has another way to its program
than the image promises: /livenessprobe is a file, and links lead to it from where others
look for a command (PATH) or have had it.

    packaging/check_image.py ARCHIVE
"""

import json
import sys
import tarfile

PROGRAM = "livenessprobe"
LINKS = [f"{directory}/{PROGRAM}" for directory in ("bin", "usr/bin", "usr/local/bin")]


def wrong(layers: list[tarfile.TarFile]) -> list[str]:
    """What is not as promised in these layers, of which a later one wins."""
    members = {member.name.removeprefix("./"): member for layer in layers for member in layer}
    found = []
    program = members.get(PROGRAM)
    if program is None or not program.isfile() or program.mode & 0o777 != 0o755:
        found.append(f"/{PROGRAM} is no file that everybody may run")
    for name in LINKS:
        link = members.get(name)
        if link is None or not link.issym() or link.linkname != f"/{PROGRAM}":
            found.append(f"/{name} is no link to /{PROGRAM}")
            continue
        parents = name.split("/")[:-1]
        for depth in range(len(parents)):
            directory = members.get("/".join(parents[: depth + 1]))
            if directory is None or directory.mode & 0o777 != 0o755:
                found.append(f"not everybody may look for /{name}")
    return found


def main() -> None:
    path = sys.argv[1]
    with tarfile.open(path) as archive:

        def blob(part: dict):
            file = archive.extractfile("blobs/" + part["digest"].replace(":", "/"))
            if file is None:
                sys.exit(f"error: {path} has no {part['digest']}")
            return file

        index = archive.extractfile("index.json")
        if index is None:
            sys.exit(f"error: {path} has no index.json")
        (whole,) = json.load(index)["manifests"]
        for each in json.load(blob(whole))["manifests"]:
            manifest = json.load(blob(each))
            layers = [tarfile.open(fileobj=blob(layer)) for layer in manifest["layers"]]
            found = wrong(layers)
            if found:
                words = ("os", "architecture", "variant")
                platform = "/".join(filter(None, map(each["platform"].get, words)))
                sys.exit(f"error: {path}, {platform}: {'; '.join(found)}")


if __name__ == "__main__":
    main()
