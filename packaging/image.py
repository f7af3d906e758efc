#!/usr/bin/env python3
"""Names an image in an OCI layout, and holds an archive to what the image promises.

    packaging/image.py name LAYOUT IMAGE:VERSION
    packaging/image.py check ARCHIVE PACKAGE PROGRAM VERSION PLATFORM ...

The environment of a check has REVISION, and dist/ the files that must be in the image.
"""

import hashlib
import json
import os
import pathlib
import sys
import tarfile


def whole(name: str) -> str:
    """The name with its host and path. containerd completes the `image:` of a pod so, and
    looks for that (github.com/distribution/reference, "normalize")."""
    host, slash, path = name.partition("/")
    if not (slash and ("." in host or ":" in host or host == "localhost")):
        host, path = "docker.io", name
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return f"{host}/{path}"


def name(layout: str, image: str) -> None:
    """buildah writes one of the two annotations, and the name as it was given. containerd
    (`ctr images import`, k3s) reads io.containerd.image.name first, Podman and Docker read
    org.opencontainers.image.ref.name, and all three want the whole name."""
    path = pathlib.Path(layout) / "index.json"
    index = json.loads(path.read_text())
    words = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    index["manifests"][0]["annotations"] = dict.fromkeys(words, whole(image))
    path.write_text(json.dumps(index, separators=(",", ":"), sort_keys=True))


def file(mode: int, content: bytes) -> str:
    return f"a file of mode {mode:o} with SHA-256 {hashlib.sha256(content).hexdigest()}"


def entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.issym():
        return f"a link to {member.linkname}"
    if member.isdir():
        return f"a directory of mode {member.mode:o}"
    return file(member.mode, tar.extractfile(member).read())


def check(path: str, package: str, program: str, version: str, *wanted: str) -> None:
    archive = tarfile.open(path)

    def blob(part: dict):
        return archive.extractfile("blobs/" + part["digest"].replace(":", "/"))

    def hold(where: str, found: dict, right: dict) -> None:
        for key in sorted(found.keys() | right.keys()):
            if found.get(key) != right.get(key):
                words = f"{where}{key} is {found.get(key)}; right would be {right.get(key)}"
                sys.exit(f"error: {path}: {words}")

    links = [f"{directory}/{program}" for directory in ("bin", "usr/bin", "usr/local/bin")]
    texts = [f"licenses/{text}" for text in ("LICENSE", "NOTICE", "THIRD-PARTY.txt")]
    parents = {str(parent) for name in links + texts for parent in pathlib.Path(name).parents}
    common = {
        # Root, as upstream's: the Containerfile says why.
        "the user": None,
        "the entrypoint": [f"/{program}"],
        "the label title": package,
        "the label version": version,
        "the label revision": os.environ["REVISION"],
        "the label licenses": "Apache-2.0",
        **{parent: "a directory of mode 755" for parent in parents - {"."}},
        **{link: f"a link to /{program}" for link in links},
    }
    for text in texts:
        source = pathlib.Path("dist/licenses", program, pathlib.Path(text).name)
        common[text] = file(0o644, source.read_bytes())

    (index,) = json.load(archive.extractfile("index.json"))["manifests"]
    manifests = json.load(blob(index))["manifests"]
    words = ("os", "architecture", "variant")
    platforms = ["/".join(filter(None, map(one["platform"].get, words))) for one in manifests]
    hold("", {"the list of platforms": platforms}, {"the list of platforms": list(wanted)})
    for platform, each in zip(platforms, manifests):
        manifest = json.load(blob(each))
        run = json.load(blob(manifest["config"]))["config"]
        found = {"the user": run.get("User"), "the entrypoint": run.get("Entrypoint")}
        for label in ("title", "version", "revision", "licenses"):
            found[f"the label {label}"] = run["Labels"].get(f"org.opencontainers.image.{label}")
        (layer,) = manifest["layers"]
        with tarfile.open(fileobj=blob(layer)) as tar:
            found |= {one.name.removeprefix("./"): entry(tar, one) for one in tar if one.name != "."}
        binary = pathlib.Path(f"dist/{program}-{platform.replace('/', '-', 1).replace('/', '')}")
        hold(f"{platform}: ", found, {**common, program: file(0o755, binary.read_bytes())})


command, *arguments = sys.argv[1:]
{"name": name, "check": check}[command](*arguments)
