#!/usr/bin/env python3
"""Names an image in an OCI layout, and holds an archive to what the image promises.

    packaging/image.py whole IMAGE        prints the whole name, without a tag
    packaging/image.py name LAYOUT NAME   writes it into the layout
    packaging/image.py check ARCHIVE PACKAGE PROGRAM VERSION PLATFORM=FILE ...

The environment of a check has REVISION. Each FILE is what the platform's program must be.
"""

import json
import os
import pathlib
import re
import sys
import tarfile

# One part of a path, as every registry takes it.
PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?")


def whole(name: str) -> str:
    """The name with its host and path. containerd completes the `image:` of a pod so, and
    looks for that (github.com/distribution/reference, "normalize")."""
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


def name(layout: str, whole_name: str) -> None:
    """buildah writes one of the two annotations, and the name as it was given. containerd
    (`ctr images import`, k3s) reads io.containerd.image.name first, Podman and Docker read
    org.opencontainers.image.ref.name, and all three want the whole name."""
    path = pathlib.Path(layout) / "index.json"
    index = json.loads(path.read_text())
    (image,) = index["manifests"]
    image["annotations"] = {
        "io.containerd.image.name": whole_name,
        "org.opencontainers.image.ref.name": whole_name,
    }
    path.write_text(json.dumps(index, separators=(",", ":"), sort_keys=True))


def check(path: str, package: str, program: str, version: str, *wanted: str) -> None:
    def want(found: object, right: object, what: str) -> None:
        if found != right:
            sys.exit(f"error: {path}: {what} is {found!r}; right would be {right!r}")

    archive = tarfile.open(path)

    def blob(part: dict):
        return archive.extractfile("blobs/" + part["digest"].replace(":", "/"))

    (index,) = json.load(archive.extractfile("index.json"))["manifests"]
    manifests = json.load(blob(index))["manifests"]
    files = dict(one.split("=", 1) for one in wanted)
    words = ("os", "architecture", "variant")
    platforms = ["/".join(filter(None, map(one["platform"].get, words))) for one in manifests]
    want(platforms, list(files), "the list of platforms")
    links = [f"{directory}/{program}" for directory in ("bin", "usr/bin", "usr/local/bin")]
    texts = [f"licenses/{text}" for text in ("LICENSE", "NOTICE", "THIRD-PARTY.txt")]
    directories = {str(parent) for name in links + texts for parent in pathlib.Path(name).parents}
    directories.discard(".")
    for platform, each in zip(platforms, manifests):
        manifest = json.load(blob(each))
        run = json.load(blob(manifest["config"]))["config"]
        want(run.get("Entrypoint"), [f"/{program}"], f"{platform}: the entrypoint")
        # Root, as upstream's: the Containerfile says why.
        want(run.get("User"), None, f"{platform}: the user")
        for label, right in (
            ("title", package),
            ("version", version),
            ("revision", os.environ["REVISION"]),
            ("licenses", "Apache-2.0"),
        ):
            found = run["Labels"].get(f"org.opencontainers.image.{label}")
            want(found, right, f"{platform}: the label {label}")
        (layer,) = manifest["layers"]
        with tarfile.open(fileobj=blob(layer)) as tar:
            members = {one.name.removeprefix("./"): one for one in tar}
            right = {program, *links, *texts, *directories}
            want(sorted(members.keys() - {"", "."}), sorted(right), f"{platform}: the list of files")
            for name in [program, *directories]:
                want(members[name].mode & 0o777, 0o755, f"{platform}: the mode of /{name}")
            for name in links:
                want(members[name].linkname, f"/{program}", f"{platform}: the link /{name}")
            sources = {text: f"dist/licenses/{program}/{text.rpartition('/')[2]}" for text in texts}
            for name, source in {program: files[platform], **sources}.items():
                same = tar.extractfile(name).read() == pathlib.Path(source).read_bytes()
                want(same, True, f"{platform}: that /{name} is {source}")


def main() -> None:
    command, *arguments = sys.argv[1:]
    if command == "whole":
        print(whole(*arguments))
    else:
        {"name": name, "check": check}[command](*arguments)


if __name__ == "__main__":
    main()
