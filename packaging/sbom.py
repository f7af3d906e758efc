#!/usr/bin/env python3
"""Lists everything that is linked into the binaries, as CycloneDX 1.6.

    packaging/sbom.py OUT.cdx.json ZIG

ZIG is the environment that packaging/static.sh makes. CARGO and RUSTC are those of
the build, REVISION and SOURCE_DATE_EPOCH as packaging/source.sh sets them: the same
source makes the same bytes.
"""

import datetime
import json
import os
import pathlib
import sys
import uuid

import parts

# Of our own properties' names: https://github.com/CycloneDX/cyclonedx-property-taxonomy
OURS = "csi-livenessprobe:"


def licences(expression: str) -> list[dict]:
    if " " in expression:
        return [{"expression": expression, "acknowledgement": "declared"}]
    return [{"license": {"id": expression, "acknowledgement": "declared"}}]


def properties(pairs: list[tuple[str, str]]) -> list[dict]:
    return [{"name": OURS + name, "value": value} for name, value in sorted(pairs)]


def component(part: parts.Part) -> dict:
    pairs = [("licence-text", heading) for heading, _ in part.texts]
    if part.without:
        pairs.append(("licence-text", part.without))
    if part.targets != frozenset(parts.TARGETS):
        pairs += [("targets", target) for target in part.targets]
    if part.version_from:
        pairs.append(("version-from", part.version_from))
    if part.left_out:
        pairs.append(("left-out", part.left_out))
    pairs += [("generated-from", source) for source in part.generated_from]
    found = {
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "purl": part.purl,
        "supplier": {"name": part.supplier},
        "licenses": licences(part.licence),
        # "Not reachable within a call graph at runtime."
        "scope": "excluded" if part.left_out else "required",
        "properties": properties(sorted(set(pairs))),
    }
    if part.sha256:
        found["hashes"] = [{"alg": "SHA-256", "content": part.sha256}]
    if part.cpe:
        found["cpe"] = f"cpe:2.3:a:{part.cpe}:{part.version}:*:*:*:*:*:*:*"
    if part.source:
        found["externalReferences"] = [{"type": "vcs", "url": part.source}]
    return found


def document(zig: pathlib.Path) -> dict:
    ours, others = parts.everything(zig)
    uses = {part.purl: set(part.needs) for part in [ours, *others]}
    for part in others:
        if part.carrier:
            uses[part.carrier].add(part.purl)
        # The standard library and what zig brings are nobody's dependency by name.
        elif not any(part.purl in needs for needs in uses.values()):
            uses[ours.purl].add(part.purl)
    moment = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    metadata = {
        "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycles": [{"phase": "build"}],
        "authors": [{"name": "The maintainers of csi-livenessprobe"}],
        "tools": {"components": [{"type": "application", "name": "packaging/sbom.py"}]},
        "component": {
            "type": "application",
            "bom-ref": ours.purl,
            "name": ours.name,
            "version": ours.version,
            "purl": ours.purl,
            "licenses": licences(ours.licence),
            "properties": properties(
                [("revision", os.environ["REVISION"]), *(("targets", target) for target in parts.TARGETS)]
            ),
        },
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": sorted(map(component, others), key=lambda found: found["bom-ref"]),
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(needs)} for ref, needs in sorted(uses.items())
        ],
    }


def text(document: dict) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    out, zig = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    found = document(zig)
    # Another document has another number, and the same one the same.
    found["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, text(found)).urn
    out.write_text(text(found), encoding="utf-8")
    print(f"built {out} ({len(found['components'])} components)")


if __name__ == "__main__":
    main()
