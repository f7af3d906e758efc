#!/usr/bin/env python3
"""Prints the revision that the image in an OCI archive says it is of.

    packaging/revision_of.py ARCHIVE

All of its platforms must say the same.
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
        revisions = {
            blob(blob(manifest)["config"])["config"]["Labels"][LABEL]
            for manifest in blob(index)["manifests"]
        }
    if len(revisions) != 1:
        sys.exit(f"error: the platforms in {path} are of several revisions: {revisions}")
    print(*revisions)


if __name__ == "__main__":
    main()
