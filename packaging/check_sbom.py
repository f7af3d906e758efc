#!/usr/bin/env python3
"""Refuses an SBOM that is no CycloneDX 1.6, or that is not of what is linked.

    packaging/check_sbom.py SBOM LICENCES

LICENCES is the directory that packaging/licences.py makes. packaging/check-sbom.sh
calls this with the Python that has the schema.
"""

import functools
import json
import os
import pathlib
import re
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing
from packageurl import PackageURL

import parts
from parts import carried, compiled, crates, standard_library

# Their packages have no file of it, or are no package. Apache-2.0 is in LICENSE, and
# LLVM's exception in the text of libc++.
WITHOUT_TEXT = {"grpcio-sys", "std", "compiler_builtins"}
# What directories of gRPC's third_party/ are called elsewhere.
ALIASES = {"cares": "c-ares"}
RULE = "=" * 79


class Sbom:
    """The document, and what is wrong with it."""

    def __init__(self, path: pathlib.Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        self.document = json.loads(self.text)
        self.components = {found["bom-ref"]: found for found in self.document["components"]}
        self.root = self.document["metadata"]["component"]
        self.problems: list[str] = []

    def want(self, is_right: object, problem: str) -> None:
        if not is_right:
            self.problems.append(problem)

    def values(self, ref: str, name: str) -> set[str]:
        """A property of ours."""
        found = self.components[ref].get("properties", [])
        return {one["value"] for one in found if one["name"] == f"csi-livenessprobe:{name}"}

    def needs(self) -> dict[str, list[str]]:
        return {one["ref"]: one["dependsOn"] for one in self.document["dependencies"]}

    def named(self, name: str) -> str | None:
        """The reference of the component with a name, if there is one."""
        refs = [ref for ref, found in self.components.items() if found["name"] == name]
        return refs[0] if refs else None


def form(sbom: Sbom) -> None:
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.text)
    if error is not None:
        where = "/".join(map(str, error.data.absolute_path))
        sbom.want(False, f"no CycloneDX 1.6: {where}: {error.data.message[:300]}")
    revisions = {one["value"] for one in sbom.root["properties"] if one["name"].endswith(":revision")}
    wanted = os.environ.get("REVISION")
    sbom.want(
        wanted is None or revisions == {wanted}, f"it is of revision {revisions}, not of {wanted}"
    )
    licensing = get_spdx_licensing()
    sbom.want(len(sbom.components) == len(sbom.document["components"]), "a bom-ref is there twice")
    for ref, component in {**sbom.components, sbom.root["bom-ref"]: sbom.root}.items():
        purl = component["purl"]
        sbom.want(purl == ref, f"{ref}: its purl is another one, {purl}")
        sbom.want(
            PackageURL.from_string(purl).to_string() == purl, f"{purl} is not as purls are written"
        )
        sbom.want(component["version"] != "", f"{ref} has no version")
        for licence in component["licenses"]:
            expression = licence.get("expression") or licence["license"]["id"]
            errors = licensing.validate(expression).errors
            sbom.want(not errors, f"{ref}: {expression}: {'; '.join(errors)}")


def graph(sbom: Sbom) -> None:
    needs = sbom.needs()
    todo, seen = [sbom.root["bom-ref"]], set()
    while todo:
        ref = todo.pop()
        if ref not in seen:
            seen.add(ref)
            sbom.want(ref in needs, f"the graph does not know {ref}")
            todo += needs.get(ref, [])
    known = {*sbom.components, sbom.root["bom-ref"]}
    for ref in sorted(seen | set(needs)):
        sbom.want(ref in known, f"the graph has {ref}, which is no component")
    for ref in sorted(known - seen):
        sbom.want(False, f"nothing needs {ref}")


def packages(sbom: Sbom) -> None:
    """Cargo's own list, and nothing else of its kind but the standard library's."""
    listed: dict[str, set[str]] = {}
    for target in parts.TARGETS:
        for line in crates.cargo(
            "tree", "--edges=normal,no-proc-macro", f"--target={target}", "--prefix=none"
        ).splitlines():
            name, version = line.split()[:2]
            ref = crates.crate_purl((name, version.removeprefix("v")))
            listed.setdefault(ref, set()).add(target)
    listed.pop(sbom.root["bom-ref"])
    for ref, targets in sorted(listed.items()):
        sbom.want(ref in sbom.components, f"{ref} is linked, and is not in the SBOM")
        if ref in sbom.components:
            said = sbom.values(ref, "targets") or set(parts.TARGETS)
            sbom.want(
                said == targets,
                f"{ref} is linked for {sorted(targets)}, and not for {sorted(said)}",
            )
            sbom.want("hashes" in sbom.components[ref], f"{ref} has no SHA-256")
    std = sbom.named("std")
    sbom.want(std, "there is no std")
    of_std = {part.purl for part in standard_library.parts()} - {std}
    sbom.want(
        set(sbom.needs().get(std, [])) == of_std, f"std is built from {sorted(of_std)}, and no others"
    )
    for ref in sorted(set(sbom.components) - set(listed) - of_std):
        sbom.want(not ref.startswith("pkg:cargo/"), f"{ref} is in the SBOM, and is not linked")


@functools.cache
def grpcio_sys() -> pathlib.Path:
    (found,) = (one for one in crates.linked() if one.part.name == "grpcio-sys")
    return found.directory


def carried_sources(sbom: Sbom) -> None:
    grpc = grpcio_sys() / "grpc"
    for name in sorted(compiled.third_party(grpc, "grpc_unsecure")):
        wanted = ALIASES.get(name, name)
        sbom.want(sbom.named(wanted), f"gRPC compiles third_party/{name}, which is not in the SBOM")
    core = sbom.named("grpc")
    sbom.want(core, "there is no grpc")
    said = {value.split()[0] for value in sbom.values(core, "generated-from")} if core else set()
    for directory in sorted(compiled.generated(grpc, "grpc_unsecure")):
        if directory.startswith("src/proto/grpc"):
            continue
        sources = [
            source
            for beginning, source in carried.GENERATED.items()
            if f"{directory}/".startswith(f"{beginning}/")
        ]
        sbom.want(
            sources and set(sources) <= said,
            f"gRPC compiles what was generated as {directory}, of what is not in the SBOM",
        )


def left_out(sbom: Sbom) -> None:
    """What the SBOM excludes, a test looks for in the program, or nothing includes."""
    source = pathlib.Path("tests/integration/security.rs").read_text(encoding="utf-8")
    _, _, rest = source.partition("const LEFT_OUT:")
    looked_for = set(re.findall(r'^    \(\n +"(.+)",$', rest.partition("\n];")[0], re.MULTILINE))
    for ref, component in sorted(sbom.components.items()):
        reasons = sbom.values(ref, "left-out")
        excluded = component["scope"] == "excluded"
        sbom.want(excluded == bool(reasons), f"{ref} is excluded without a reason, or not excluded")
        if carried.NOT_LINKED in reasons:
            names = sbom.values(ref, "licence-text")
            sbom.want(names <= looked_for, f"{ref}: no test shows that it is not linked")
        elif carried.NOT_INCLUDED in reasons:
            header = f"{component['name']}.h"
            grpc = grpcio_sys() / "grpc"
            is_included = compiled.includes(grpc, "grpc_unsecure", header)
            sbom.want(not is_included, f"{ref} is excluded, and {header} is included")


def licence_texts(sbom: Sbom, licences: pathlib.Path) -> None:
    text = (licences / "THIRD-PARTY.txt").read_text(encoding="utf-8")
    *headed, rest = re.split(rf"^{RULE}\n(?=(?:.+\n)+{RULE}\n)", text, flags=re.MULTILINE)[1:]
    headings = {heading for one in headed for heading in one.partition(f"{RULE}\n")[0].splitlines()}
    without = set(rest.splitlines())
    for ref, component in sorted(sbom.components.items()):
        said = sbom.values(ref, "licence-text")
        sbom.want(said, f"{ref} names no text of its licence")
        for heading in sorted(said):
            is_there = heading in headings
            if component["name"] in WITHOUT_TEXT:
                is_there = heading in without
            sbom.want(is_there, f"{ref}: THIRD-PARTY.txt has no text for {heading!r}")


def statements(sbom: Sbom) -> None:
    vex = json.loads(pathlib.Path("security/openvex.json").read_text(encoding="utf-8"))
    locked = {crates.crate_purl(one) for one in crates.checksums(pathlib.Path("Cargo.lock"))}
    for statement in vex["statements"]:
        name = statement["vulnerability"]["name"]
        for product in statement["products"]:
            sbom.want(product["@id"] == sbom.root["purl"], f"{name} is about {product['@id']}")
            for subcomponent in product["subcomponents"]:
                purl = subcomponent["@id"]
                # What is not there, and is said not to be, has no component.
                is_absent = (
                    statement.get("justification") == "component_not_present" and purl in locked
                )
                sbom.want(
                    purl in sbom.components or is_absent,
                    f"{name} is about {purl}, which is not in the SBOM",
                )


def main() -> None:
    sbom = Sbom(pathlib.Path(sys.argv[1]))
    form(sbom)
    graph(sbom)
    packages(sbom)
    carried_sources(sbom)
    left_out(sbom)
    licence_texts(sbom, pathlib.Path(sys.argv[2]))
    statements(sbom)
    for problem in sbom.problems:
        print(f"error: {sys.argv[1]}: {problem}", file=sys.stderr)
    if sbom.problems:
        sys.exit(1)
    print(f"{sys.argv[1]}: {len(sbom.components)} components, as they are linked")


if __name__ == "__main__":
    main()
