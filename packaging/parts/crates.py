"""The packages that Cargo links, for each target. Those that only build (build
scripts, procedural macros) and those of the tests are not among them."""

import collections
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import tomllib

from parts.part import Part, purl, spdx
from parts.targets import TARGETS

NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE")


@dataclasses.dataclass(frozen=True)
class Crate:
    """A package, and where its source lies."""

    part: Part
    directory: pathlib.Path
    is_root: bool


def cargo(*arguments: str, **environment: str) -> str:
    """What Cargo prints; CARGO and RUSTC are those of the build."""
    command = [os.environ.get("CARGO", "cargo"), *arguments, "--locked"]
    return subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ).stdout


def is_licence(path: pathlib.Path) -> bool:
    return path.is_file() and path.name.upper().startswith(NAMES)


def texts(heading: str, directory: pathlib.Path) -> tuple[tuple[str, pathlib.Path], ...]:
    return tuple((heading, path) for path in sorted(filter(is_licence, directory.iterdir())))


def checksums(lock: pathlib.Path) -> dict[tuple[str, str], str]:
    """The SHA-256 of each package of a Cargo.lock, by name and version."""
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    return {
        (package["name"], package["version"]): package["checksum"]
        for package in packages
        if "checksum" in package
    }


def tree(target: str) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """What each linked package uses. `cargo metadata` would not do: it knows one set
    of features, with those that the tests alone turn on."""
    edges = collections.defaultdict(set)
    above = []
    for line in cargo(
        "tree",
        f"--target={target}",
        "--edges=normal,no-proc-macro",
        "--prefix=depth",
        "--no-dedupe",
        "--format={p}",
    ).splitlines():
        depth, name, version = re.match(r"(\d+)(\S+) v(\S+)", line).groups()
        this = (name, version)
        del above[int(depth) :]
        if above:
            edges[above[-1]].add(this)
        edges[this]  # One that uses nothing is linked, too.
        above.append(this)
    return edges


def crate_purl(crate: tuple[str, str]) -> str:
    return purl("cargo", *crate)


def part_of(package: dict, directory: pathlib.Path, **more: object) -> Part:
    """The part that a package is, by its manifest or Cargo's word of it."""
    heading = f"{package['name']} {package['version']} ({package['license']})"
    where = package["repository"] or ""
    files = texts(heading, directory)
    return Part(
        name=package["name"],
        version=package["version"],
        licence=spdx(package["license"]),
        purl=crate_purl((package["name"], package["version"])),
        source=where,
        texts=files,
        without="" if files else f"{heading}, {where or package['name']}",
        **more,
    )


def linked() -> list[Crate]:
    """By name."""
    edges = collections.defaultdict(set)
    targets = collections.defaultdict(set)
    for target in TARGETS:
        for crate, uses in tree(target).items():
            edges[crate] |= uses
            targets[crate].add(target)
    platforms = [f"--filter-platform={target}" for target in TARGETS]
    metadata = json.loads(cargo("metadata", "--format-version=1", *platforms))
    root = metadata["resolve"]["root"]
    sums = checksums(pathlib.Path("Cargo.lock"))
    crates = []
    for package in metadata["packages"]:
        crate = (package["name"], package["version"])
        if crate not in edges:
            continue
        directory = pathlib.Path(package["manifest_path"]).parent
        part = part_of(
            package,
            directory,
            supplier="crates.io",
            needs=frozenset(map(crate_purl, edges[crate])),
            targets=frozenset(targets[crate]),
            sha256=sums.get(crate, ""),
        )
        crates.append(Crate(part, directory, package["id"] == root))
    return sorted(crates, key=lambda crate: (crate.part.name, crate.part.version))
