#!/usr/bin/env python3
"""Lists what is linked into a program: the SBOM, dist/<package>-<version>.cdx.json
(CycloneDX 1.6), and the licence texts, dist/licenses/<program>/.

    packaging/parts.py STORE PROGRAM PACKAGE TARGET=BINARY ...
    packaging/parts.py check SBOM

The Rust packages are those that cargo-auditable wrote into the binaries, the standard library's
included; `cargo tree` must give the same. STORE is where Cargo has their sources. The C and C++
is that of c-parts.json, which must agree with the source that is compiled. CARGO and RUSTC are
those of the build; REVISION and SOURCE_DATE_EPOCH are as lib.sh has them, so that the same
source makes the same bytes.

`check` refuses an SBOM that is no CycloneDX 1.6 or is not of REVISION, and one that lacks what
security/openvex.json is about. It needs the packages of requirements-sbom.txt.

cargo-cyclonedx and cargo-about do not replace this: neither knows the standard library's
packages, C-core's parts or more than one target, and both ask `cargo metadata`, which adds
what only tests turn on.
"""

import collections
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

Crate = tuple[str, str]  # Name and version.


def refuse(words: str) -> None:
    sys.exit(f"error: {words}")


def run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def rustc(*arguments: str) -> str:
    return run(os.environ.get("RUSTC") or "rustc", *arguments).strip()


def manifest(path: pathlib.Path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))


class Packages:
    """The packages of Cargo.lock and those of the standard library."""

    def __init__(self, store: str) -> None:
        self.store = pathlib.Path(store)
        self.library = pathlib.Path(rustc("--print=sysroot")) / "lib/rustlib/src/rust/library"
        self.std = ("std", rustc("--version").split()[1])
        locked = manifest(pathlib.Path("Cargo.lock"))["package"]
        library = manifest(self.library / "Cargo.lock")["package"]
        # Ours are the product, and no parts of others. They have no digest.
        self.ours = {one["name"] for one in locked if "checksum" not in one}
        self.locked = {(one["name"], one["version"]) for one in locked}
        self.digests = {
            (one["name"], one["version"]): one.get("checksum", "") for one in library + locked
        }

    def part(self, crate: Crate) -> dict:
        name, version = crate
        digest = self.digests.get(crate)
        directory = self.store / f"{name}-{version}" if digest else self.library / name
        if name == "compiler_builtins":
            directory = self.library / "compiler-builtins/compiler-builtins"
        about = manifest(directory / "Cargo.toml")["package"]
        # https://github.com/package-url/purl-spec: a version's + is encoded.
        purl = f"pkg:cargo/{name}@{urllib.parse.quote(version)}"
        heading = f"{name} {version} ({about['license']})"
        files = (path for path in sorted(directory.iterdir()) if path.is_file())
        texts = (path for path in files if path.name.upper().startswith(LICENCE_FILES))
        return {
            "name": name,
            "version": version,
            # Cargo still takes a slash for OR, which SPDX does not know.
            "licence": re.sub(r"\s*/\s*", " OR ", about["license"]),
            "supplier": "crates.io" if digest else "The Rust Project",
            "source": about.get("repository"),
            "sha256": digest,
            "heading": heading,
            "texts": [(heading, path) for path in texts],
            "directory": directory,
            "purl": f"pkg:github/rust-lang/rust@{version}#library" if name == "std" else purl,
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
    options = ("--locked", "--edges=normal,no-proc-macro", "--prefix=none", "--format={p}")
    cargo = os.environ.get("CARGO", "cargo")
    tree = run(cargo, "tree", f"--package={package}", f"--target={target}", *options)
    return set(re.findall(r"^(\S+) v(\S+)$", tree, re.MULTILINE))


def rust_parts(packages: Packages, package: str, binaries: dict[str, str]) -> list[dict]:
    """The program itself, the standard library, and the Rust packages by name."""

    def crate_of(one: dict) -> Crate | None:
        """A package of ours counts as the program. Those of Rust's that have no version of their
        own are one part, std."""
        if one.get("kind") == "build":
            return None
        if one["source"] != "local" or one["name"] == "compiler_builtins":
            return (one["name"], one["version"])
        return root if one["name"] in packages.ours else None

    needs: dict[Crate, set] = collections.defaultdict(set)
    targets: dict[Crate, set] = collections.defaultdict(set)
    for target, binary in binaries.items():
        every = listed(binary)
        (version,) = (one["version"] for one in every if one["name"] == package)
        root = (package, version)
        crates = [crate_of(one) for one in every]
        for one, crate in zip(every, crates):
            if crate:
                targets[crate].add(target)
                needs[crate] |= {crates[index] for index in one.get("dependencies", [])}
        wrong = set(crates) & packages.locked - {root} ^ linked_by_cargo(package, target)
        if wrong:
            refuse(f"{binary} and cargo tree --target={target} differ: {wrong}")
    # Each package needs the library, which says nothing.
    in_library = set(needs) - packages.locked
    needs = {crate: some - in_library - {crate, None} for crate, some in needs.items()}
    needs[root].add(packages.std)
    needs[packages.std] = in_library
    parts = {crate: packages.part(crate) for crate in sorted(set(needs) - {root})}
    parts[root] = {
        "name": package,
        "version": version,
        "licence": manifest(pathlib.Path("Cargo.toml"))["workspace"]["package"]["license"],
        "purl": f"pkg:cargo/{package}@{version}",
    }
    for crate, part in parts.items():
        part["needs"] = {parts[need]["purl"] for need in needs[crate]}
        part["targets"] = targets.get(crate, set(binaries))
    return [parts.pop(root), *parts.values()]


def c_parts(rust: list[dict]) -> list[dict]:
    """The parts of c-parts.json, held to the source that is compiled, each added to what its
    carrier needs."""
    root = rust[0]
    listing = json.loads(pathlib.Path("packaging/c-parts.json").read_text(encoding="utf-8"))
    (zig,) = pathlib.Path("target/zig").glob("lib/python3*/site-packages/ziglang/lib")
    carriers = {"ziglang": (root, zig)}
    for part in rust:
        if part["name"] in listing["carriers"]:
            carriers[part["name"]] = (part, part["directory"])
            if part["sha256"] != listing["carriers"][part["name"]]:
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
        parts.append({**part, "texts": texts, "needs": set(), "targets": root["targets"]})
    return parts


def properties(pairs: set[tuple[str, str]]) -> list[dict]:
    return [{"name": OURS + name, "value": value} for name, value in sorted(pairs)]


def described(part: dict) -> dict:
    declared = {"acknowledgement": "declared"}
    licence = {"license": {"id": part["licence"], **declared}}
    if " " in part["licence"]:
        licence = {"expression": part["licence"], **declared}
    same = {name: part[name] for name in ("name", "version", "purl")}
    return {**same, "bom-ref": part["purl"], "licenses": [licence]}


def component(part: dict, root: dict) -> dict:
    headings = [heading for heading, _ in part["texts"]] or [part["heading"]]
    pairs = {("licence-text", heading) for heading in headings}
    if part["targets"] != root["targets"]:
        pairs |= {("targets", target) for target in part["targets"]}
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
    if part.get("source"):
        found["externalReferences"] = [{"type": "vcs", "url": part["source"]}]
    return found


def sbom(root: dict, parts: list[dict]) -> str:
    moment = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    built = {("targets", target) for target in root["targets"]}
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
    heads.append(("Parts that name their licence without its text; Apache-2.0 is in LICENSE", "\n".join(without)))
    text = "\n\n".join(f"{rule}\n{head}\n{rule}\n\n{text}" for head, text in heads)
    (directory / "THIRD-PARTY.txt").write_text(text + "\n", encoding="utf-8")


def check(path: str) -> None:
    # Debian's Python has neither of these.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from license_expression import get_spdx_licensing

    text = pathlib.Path(path).read_text(encoding="utf-8")
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        where = "/".join(map(str, error.data.absolute_path))
        refuse(f"{path} is no CycloneDX 1.6: {where}: {error.data.message[:300]}")
    document = json.loads(text)
    root = document["metadata"]["component"]
    if properties({("revision", os.environ["REVISION"])})[0] not in root["properties"]:
        refuse(f"{path} is not of revision {os.environ['REVISION']}")
    for component in [root, *document["components"]]:
        # The schema has the list of licences, and not the grammar of expressions.
        for expression in (one["expression"] for one in component["licenses"] if "expression" in one):
            if get_spdx_licensing().validate(expression).errors:
                refuse(f"{path}: {component['purl']}: {expression} is no SPDX expression")
    refs = {component["bom-ref"] for component in document["components"]}
    vex = json.loads(pathlib.Path("security/openvex.json").read_text(encoding="utf-8"))
    for statement in vex["statements"]:
        # What is said not to be there has no component.
        if statement.get("justification") == "component_not_present":
            continue
        for product in statement["products"]:
            about = {one["@id"] for one in product["subcomponents"]}
            if product["@id"] == root["purl"] and not about <= refs:
                name = statement["vulnerability"]["name"]
                refuse(f"{name} is about {about - refs}, which {path} has not")


def make(store: str, program: str, package: str, *binaries: str) -> None:
    packages = Packages(store)
    root, *rust = rust_parts(packages, package, dict(one.split("=") for one in binaries))
    parts = [*rust, *c_parts([root, *rust])]
    write_licences(pathlib.Path("dist/licenses") / program, parts)
    out = pathlib.Path(f"dist/{package}-{root['version']}.cdx.json")
    out.write_text(sbom(root, parts), encoding="utf-8")
    print(f"built {out} ({len(parts)} components)")


if sys.argv[1] == "check":
    check(*sys.argv[2:])
else:
    make(*sys.argv[1:])
