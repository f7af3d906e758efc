#!/usr/bin/env python3
"""Lists what is linked into a program: the SBOM, dist/<package>-<version>.cdx.json
(CycloneDX 1.6), and the licence texts, dist/licenses/<program>/.

    packaging/parts.py PROGRAM PACKAGE ARCH ...

The Rust packages are those that cargo-auditable wrote into dist/PROGRAM-linux-ARCH, the
standard library's included; `cargo tree` must give the same. The C and C++ is that of
c-parts.json, which must agree with the source that is compiled. CARGO and RUSTC are those of
the build; REVISION and SOURCE_DATE_EPOCH are as lib.sh has them, so that the same source
makes the same bytes.

cargo-cyclonedx and cargo-about do not replace this: neither knows the standard library's
packages, C-core's parts or more than one target, and both ask `cargo metadata`, which adds
what only tests turn on.
"""

import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.parse
import uuid
import zlib

# Of our own properties' names: https://github.com/CycloneDX/cyclonedx-property-taxonomy
OURS = "csi-livenessprobe:"
LICENCE_FILES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE")
# Their packages have no file of it. Apache-2.0 is in LICENSE, and LLVM's exception is in the
# text of libc++.
WITHOUT_TEXT = {"grpcio-sys", "std", "compiler_builtins"}
STD = "https://github.com/rust-lang/rust"

Crate = tuple[str, str]  # Name and version.


def refuse(words: str) -> None:
    sys.exit(f"error: {words}")


def run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def cargo(*arguments: str) -> str:
    return run(os.environ.get("CARGO", "cargo"), *arguments, "--locked")


def rustc(*arguments: str) -> str:
    return run(os.environ.get("RUSTC") or "rustc", *arguments).strip()


def targets() -> dict[str, str]:
    """Rust's names of the architectures, of which lib.sh has the one list."""
    text = pathlib.Path("packaging/lib.sh").read_text(encoding="utf-8")
    return dict(re.findall(r"^    (\w+)\) target=(\S+)", text, re.MULTILINE))


def digests(lock: pathlib.Path) -> dict[Crate, str]:
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    return {(one["name"], one["version"]): one["checksum"] for one in packages if "checksum" in one}


class Packages:
    """The packages of Cargo.lock and those of the standard library."""

    def __init__(self) -> None:
        metadata = json.loads(cargo("metadata", "--format-version=1"))
        members = set(metadata["workspace_members"])
        # Ours are the product, and no parts of others.
        self.ours = {one["name"]: one for one in metadata["packages"] if one["id"] in members}
        self.known = {(one["name"], one["version"]): one for one in metadata["packages"]}
        self.digests = digests(pathlib.Path("Cargo.lock"))
        (core,) = (one for one in self.known.values() if one["name"] == "grpcio-sys")
        self.store = pathlib.Path(core["manifest_path"]).parent.parent
        self.library = pathlib.Path(rustc("--print=sysroot")) / "lib/rustlib/src/rust/library"

    def find(self, crate: Crate) -> tuple[dict, pathlib.Path, str]:
        """The manifest, the directory and the digest of a package."""
        if crate in self.known:
            manifest = self.known[crate]
            directory = pathlib.Path(manifest["manifest_path"]).parent
            return manifest, directory, self.digests.get(crate, "")
        if crate[0] == "compiler_builtins":
            directory, digest = self.library / "compiler-builtins/compiler-builtins", ""
        else:
            directory = self.store / "-".join(crate)
            digest = digests(self.library / "Cargo.lock")[crate]
        text = (directory / "Cargo.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)["package"], directory, digest

    def part(self, crate: Crate) -> dict:
        manifest, directory, digest = self.find(crate)
        where = manifest.get("repository") or ""
        heading = f"{crate[0]} {crate[1]} ({manifest['license']})"
        files = (path for path in sorted(directory.iterdir()) if path.is_file())
        return {
            # Cargo still takes a slash for OR, which SPDX does not know.
            "licence": re.sub(r"\s*/\s*", " OR ", manifest["license"]),
            "supplier": "crates.io" if digest else "The Rust Project",
            "source": where,
            "sha256": digest,
            "texts": [
                (heading, path) for path in files if path.name.upper().startswith(LICENCE_FILES)
            ],
            "heading": f"{heading}, {where or crate[0]}",
            # https://github.com/package-url/purl-spec: a version's + is encoded.
            "purl": f"pkg:cargo/{crate[0]}@{urllib.parse.quote(crate[1])}",
        }


def listed(binary: str) -> list[dict]:
    """What cargo-auditable wrote into a program: its section .dep-v0
    (https://github.com/rust-secure-code/cargo-auditable, PARSING.md)."""
    sections = run("readelf", "--wide", "--section-headers", binary)
    match = re.search(r" \.dep-v0 +PROGBITS +\S+ +(\S+) +(\S+) ", sections)
    if not match:
        refuse(f"{binary} has no list of its packages (.dep-v0)")
    start, size = (int(number, 16) for number in match.groups())
    data = pathlib.Path(binary).read_bytes()[start : start + size]
    return json.loads(zlib.decompress(data))["packages"]


def linked_by_cargo(package: str, target: str) -> set[Crate]:
    """What Cargo links by Cargo.lock. Packages of ours have a path."""
    edges = ("--edges=normal,no-proc-macro", "--prefix=none")
    tree = cargo("tree", f"--package={package}", f"--target={target}", *edges)
    lines = (line.split() for line in tree.splitlines() if " (/" not in line)
    return {(line[0], line[1].removeprefix("v")) for line in lines}


def rust_parts(packages: Packages, program: str, package: str, arches: list[str]) -> list[dict]:
    """The program itself, the Rust packages by name, and the standard library."""
    root = (package, packages.ours[package]["version"])
    std = ("std", rustc("--version").split()[1])

    def crate_of(one: dict) -> Crate | None:
        """A package of ours counts as the program. Those of Rust's that have no version of their
        own are one part, std."""
        if one["source"] != "local" or one["name"] == "compiler_builtins":
            return (one["name"], one["version"])
        return root if one["name"] in packages.ours else None

    needs: dict[Crate, set] = {}
    built_for: dict[Crate, set] = {}
    for arch in arches:
        binary = f"dist/{program}-linux-{arch}"
        every = listed(binary)
        linked = set()
        for one in every:
            crate = crate_of(one)
            if one.get("kind") == "build" or not crate:
                continue
            linked.add(crate)
            built_for.setdefault(crate, set()).add(arch)
            uses = (every[index] for index in one.get("dependencies", []))
            crates = {crate_of(use) for use in uses if use.get("kind") != "build"}
            needs.setdefault(crate, set()).update(crates - {None, crate})
        wrong = linked & set(packages.digests) ^ linked_by_cargo(package, targets()[arch])
        if wrong:
            refuse(f"{binary} and cargo tree --target={targets()[arch]} differ: {wrong}")
    # Each package needs the library, which says nothing.
    in_library = set(needs) - set(packages.digests) - {root}
    needs = {crate: some - in_library for crate, some in needs.items()}
    needs[root].add(std)
    needs[std] = in_library
    parts = {crate: packages.part(crate) for crate in [root, *sorted(set(needs) - {root, std})]}
    heading = (
        "The Rust standard library and the packages it is built from"
        f" (MIT OR Apache-2.0, {STD}); Apache-2.0 is in LICENSE"
    )
    parts[std] = {
        "licence": "MIT OR Apache-2.0",
        "supplier": "The Rust Project",
        "source": STD,
        "texts": [],
        "heading": heading,
        "purl": f"pkg:github/rust-lang/rust@{std[1]}#library",
    }
    for crate, part in parts.items():
        part["name"], part["version"] = crate
        part["needs"] = {parts[need]["purl"] for need in needs[crate]}
        part["arches"] = built_for.get(crate, set(arches))
    return list(parts.values())


def c_parts(packages: Packages, rust: list[dict]) -> list[dict]:
    """The parts of c-parts.json, held to the source that is compiled, each added to what its
    carrier needs."""
    root = rust[0]
    listing = json.loads(pathlib.Path("packaging/c-parts.json").read_text(encoding="utf-8"))
    (zig,) = pathlib.Path("target/zig").glob("lib/python3*/site-packages/ziglang/lib")
    carriers = {"ziglang": (root, zig)}
    for part in rust:
        if part["name"] in listing["carriers"]:
            _, directory, digest = packages.find((part["name"], part["version"]))
            carriers[part["name"]] = (part, directory)
            if digest != listing["carriers"][part["name"]]:
                refuse(f"packaging/c-parts.json is not for {part['purl']}; see its head")
    _, core = carriers["grpcio-sys"]
    for directory, wanted in listing["sources"].items():
        files = (core / directory).rglob("*")
        sources = (path for path in files if path.suffix in {".c", ".cc", ".h"})
        found = {path.relative_to(core / directory).parts[0] for path in sources}
        wrong = found ^ {name.partition(" ")[0] for name in wanted}
        if wrong:
            refuse(f"packaging/c-parts.json: {directory} of grpcio-sys differs by {wrong}")
    parts = []
    for part in listing["parts"]:
        carrier, home = carriers[part["in"]]
        for file, proofs in part["proof"].items():
            text = (home / file).read_text(encoding="utf-8", errors="replace")
            for proof in proofs:
                if proof not in text:
                    refuse(f"packaging/c-parts.json: {part['name']}: {file} has no {proof!r}")
        carrier["needs"].add(part["purl"])
        texts = [(heading, home / file) for heading, file in part["texts"].items()]
        parts.append({**part, "texts": texts, "needs": set(), "arches": root["arches"]})
    return parts


def licences(expression: str) -> list[dict]:
    if " " in expression:
        return [{"expression": expression, "acknowledgement": "declared"}]
    return [{"license": {"id": expression, "acknowledgement": "declared"}}]


def properties(pairs: set[tuple[str, str]]) -> list[dict]:
    return [{"name": OURS + name, "value": value} for name, value in sorted(pairs)]


def described(part: dict) -> dict:
    return {
        "bom-ref": part["purl"],
        "name": part["name"],
        "version": part["version"],
        "purl": part["purl"],
        "licenses": licences(part["licence"]),
    }


def component(part: dict, root: dict) -> dict:
    pairs = {("licence-text", heading) for heading, _ in part["texts"]}
    if not part["texts"]:
        pairs.add(("licence-text", part["heading"]))
    if part["arches"] != root["arches"]:
        pairs |= {("targets", targets()[arch]) for arch in part["arches"]}
    if "left-out" in part:
        pairs.add(("left-out", part["left-out"]))
    pairs |= {("generated-from", source) for source in part.get("generated-from", [])}
    found = {
        **described(part),
        "type": "library",
        "supplier": {"name": part["supplier"]},
        # "Not reachable within a call graph at runtime."
        "scope": "excluded" if "left-out" in part else "required",
        "properties": properties(pairs),
    }
    if part.get("sha256"):
        found["hashes"] = [{"alg": "SHA-256", "content": part["sha256"]}]
    if part.get("cpe"):
        found["cpe"] = f"cpe:2.3:a:{part['cpe']}:{part['version']}:*:*:*:*:*:*:*"
    if part["source"]:
        found["externalReferences"] = [{"type": "vcs", "url": part["source"]}]
    return found


def sbom(root: dict, parts: list[dict]) -> str:
    moment = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    built = {("targets", targets()[arch]) for arch in root["arches"]}
    built.add(("revision", os.environ["REVISION"]))
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycles": [{"phase": "build"}],
            "authors": [{"name": "The maintainers of csi-livenessprobe"}],
            "tools": {"components": [{"type": "application", "name": "packaging/parts.py"}]},
            "component": {
                **described(root),
                "type": "application",
                "properties": properties(built),
            },
        },
        "components": [
            component(part, root) for part in sorted(parts, key=lambda part: part["purl"])
        ],
        "dependencies": [
            {"ref": part["purl"], "dependsOn": sorted(part["needs"])}
            for part in sorted([root, *parts], key=lambda part: part["purl"])
        ],
    }

    def text() -> str:
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    # Another document has another number, and the same one the same.
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, text()).urn
    return text()


def write_licences(directory: pathlib.Path, parts: list[dict]) -> None:
    """LICENSE and NOTICE of this project, and THIRD-PARTY.txt: each text once, headed by the
    parts it is for."""
    texts: dict[str, list[str]] = {}
    without = []
    for part in parts:
        for heading, path in part["texts"]:
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            texts.setdefault(text, []).append(heading)
        if not part["texts"]:
            without.append(part["heading"])
            if part["name"] not in WITHOUT_TEXT:
                refuse(f"{part['purl']} has no licence text")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name in ("LICENSE", "NOTICE"):
        shutil.copyfile(name, directory / name)
    rule = "=" * 79
    heads = [("\n".join(dict.fromkeys(headings)), text) for text, headings in texts.items()]
    heads.append(("Parts that name their licence without its text", "\n".join(without)))
    text = "\n\n".join(f"{rule}\n{head}\n{rule}\n\n{text}" for head, text in heads)
    (directory / "THIRD-PARTY.txt").write_text(text + "\n", encoding="utf-8")


program, package, *arches = sys.argv[1:]
packages = Packages()
root, *rust = rust_parts(packages, program, package, arches)
parts = [*rust, *c_parts(packages, [root, *rust])]
write_licences(pathlib.Path("dist/licenses") / program, parts)
out = pathlib.Path(f"dist/{package}-{root['version']}.cdx.json")
out.write_text(sbom(root, parts), encoding="utf-8")
print(f"built {out} ({len(parts)} components)")
