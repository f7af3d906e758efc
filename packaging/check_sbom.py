#!/usr/bin/env python3
"""Refuses an SBOM that is no CycloneDX 1.6, or that disagrees with what the project says
elsewhere: its revision, security/openvex.json, and the tests for what is left out.

    packaging/check_sbom.py SBOM

packaging/airgap.sh calls this with the Python that has the schema.
"""

import json
import os
import pathlib
import re
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing

NOT_LINKED = "compiled, and nothing of it is in the program"


def problems(text: str):
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        where = "/".join(map(str, error.data.absolute_path))
        yield f"no CycloneDX 1.6: {where}: {error.data.message[:300]}"
    document = json.loads(text)
    root = document["metadata"]["component"]
    components = {one["bom-ref"]: one for one in document["components"]}

    def values(component: dict, name: str) -> set[str]:
        return {
            one["value"] for one in component["properties"] if one["name"].endswith(f":{name}")
        }

    if values(root, "revision") != {os.environ["REVISION"]}:
        yield f"it is of revision {values(root, 'revision')}, not of {os.environ['REVISION']}"
    licensing = get_spdx_licensing()
    for ref, component in {**components, root["bom-ref"]: root}.items():
        for licence in component["licenses"]:
            expression = licence.get("expression") or licence["license"]["id"]
            if licensing.validate(expression).errors:
                yield f"{ref}: {expression} is no SPDX expression"
    for one in document["dependencies"]:
        for ref in {one["ref"], *one["dependsOn"]} - {*components, root["bom-ref"]}:
            yield f"the graph has {ref}, which is no component"

    # What is compiled and excluded, a test looks for in the program.
    source = pathlib.Path("tests/integration/security.rs").read_text(encoding="utf-8")
    rest = source.partition("const LEFT_OUT:")[2].partition("\n];")[0]
    tested = set(re.findall(r'^    \(\n +"(.+)",$', rest, re.MULTILINE))
    for ref, component in components.items():
        if NOT_LINKED in values(component, "left-out"):
            if not values(component, "licence-text") <= tested:
                yield f"{ref}: no test shows that it is not linked"

    vex = json.loads(pathlib.Path("security/openvex.json").read_text(encoding="utf-8"))
    for statement in vex["statements"]:
        # What is said not to be there has no component.
        if statement.get("justification") == "component_not_present":
            continue
        for product in statement["products"]:
            for subcomponent in product["subcomponents"]:
                if product["@id"] == root["purl"] and subcomponent["@id"] not in components:
                    name = statement["vulnerability"]["name"]
                    yield f"{name} is about {subcomponent['@id']}, which is not in the SBOM"


path = pathlib.Path(sys.argv[1])
found = [f"error: {path}: {problem}" for problem in problems(path.read_text(encoding="utf-8"))]
sys.exit("\n".join(found) or 0)
