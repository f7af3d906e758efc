#!/usr/bin/env python3
"""Prints what the image in an OCI archive says it is: its revision, and its platforms in
their order.

    packaging/describe_image.py ARCHIVE

All of its platforms must be of one revision.
"""

import json
import sys
import tarfile

LABEL = "org.opencontainers.image.revision"


def main() -> None:
    path = sys.argv[1]
    with tarfile.open(path) as archive:

        def read(name: str) -> dict:
            file = archive.extractfile(name)
            if file is None:
                sys.exit(f"error: {path} has no {name}")
            return json.load(file)

        def blob(part: dict) -> dict:
            return read("blobs/" + part["digest"].replace(":", "/"))

        (index,) = read("index.json")["manifests"]
        manifests = blob(index)["manifests"]
        revisions = {
            blob(blob(manifest)["config"])["config"]["Labels"][LABEL] for manifest in manifests
        }
    if len(revisions) != 1:
        sys.exit(f"error: the platforms in {path} are of several revisions: {revisions}")
    words = ("os", "architecture", "variant")
    platforms = (manifest["platform"] for manifest in manifests)
    print(*revisions, *("/".join(one[word] for word in words if word in one) for one in platforms))


if __name__ == "__main__":
    main()
