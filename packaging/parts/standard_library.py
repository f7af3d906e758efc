"""Rust's standard library, and the packages that it is built from.

Where the library is compiled with the rest, from Debian's source, Cargo is asked for
the units of that very build. Where rustup brings it compiled, it is one part: its
source need not be there, and a library that others have compiled tells only its own
version.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

from parts.crates import cargo, checksums, part_of
from parts.part import Part, purl
from parts.targets import TARGETS

# packaging/static.sh builds so.
BUILD = (
    "--profile=dist",
    "--bin=livenessprobe",
    "-Zbuild-std=std,panic_unwind",
    "-Zbuild-std-features=panic-unwind",
)
HEADING = (
    "The Rust standard library and the packages it is built from"
    " (MIT OR Apache-2.0, https://github.com/rust-lang/rust); Apache-2.0 is in LICENSE"
)
RUST = "https://github.com/rust-lang/rust"
# Of Rust's own repository, and yet with a version and a licence of its own.
APART = ("compiler_builtins",)


def rustc(*arguments: str) -> str:
    command = [os.environ.get("RUSTC") or "rustc", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def source() -> pathlib.Path:
    """Where the library's source is, if it is anywhere."""
    return pathlib.Path(rustc("--print=sysroot")) / "lib/rustlib/src/rust/library"


def is_compiled() -> bool:
    """As rustup_has() of packaging/static.sh."""
    directories = (
        pathlib.Path(rustc("--print=target-libdir", f"--target={target}")) for target in TARGETS
    )
    return any(list(directory.glob("libstd-*.rlib")) for directory in directories)


def parts() -> list[Part]:
    said = rustc("--version")
    match = re.match(r"rustc (\S+) ", said)
    if not match:
        sys.exit(f"error: this is no version of rustc: {said!r}")
    version = match[1]
    packages = [] if is_compiled() else _packages()
    return [
        *packages,
        Part(
            name="std",
            version=version,
            licence="MIT OR Apache-2.0",
            purl=purl("github", "rust-lang/rust", version, "library"),
            supplier="The Rust Project",
            source=RUST,
            without=HEADING,
            needs=frozenset(package.purl for package in packages),
        ),
    ]


def _packages() -> list[Part]:
    """But for those without a version: core, alloc and the like are std's halves."""
    library = source()
    if not (library / "Cargo.lock").is_file():
        sys.exit(
            "error: Rust's library is neither compiled nor there as source; as packaging/static.sh"
            " does, give CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc, or install rustup's targets"
        )
    sums = checksums(library / "Cargo.lock")
    packages: dict[pathlib.Path, set[str]] = {}
    for target in TARGETS:
        for directory in _directories(target):
            packages.setdefault(directory, set()).add(target)
    parts = []
    for directory, targets in packages.items():
        package = tomllib.loads((directory / "Cargo.toml").read_text(encoding="utf-8"))["package"]
        crate = (package["name"], package["version"])
        if crate not in sums and package["name"] not in APART:
            continue
        part = part_of(
            package,
            directory,
            supplier="crates.io" if crate in sums else "The Rust Project",
            targets=frozenset(targets),
            sha256=sums.get(crate, ""),
        )
        parts.append(part)
    return sorted(parts, key=lambda part: (part.name, part.version))


def _directories(target: str) -> set[pathlib.Path]:
    """Where the packages are that std is linked with for a target. Cargo plans the
    build and does not begin it."""
    graph = json.loads(
        cargo(
            "build",
            "--unit-graph",
            "-Zunstable-options",
            f"--target={target}",
            *BUILD,
            RUSTC_BOOTSTRAP="1",
        )
    )
    units = graph["units"]

    def is_of_std(index: int) -> bool:
        unit = units[index]
        return bool(unit.get("is_std")) and unit["mode"] == "build" and bool(unit["platform"])

    todo = [
        index
        for index, unit in enumerate(units)
        if is_of_std(index) and unit["target"]["name"] == "std"
    ]
    if len(todo) != 1:
        sys.exit(f"error: Cargo's plan for {target} has std {len(todo)} times, and not once")
    seen = set(todo)
    while todo:
        for dependency in units[todo.pop()]["dependencies"]:
            index = dependency["index"]
            if is_of_std(index) and index not in seen:
                seen.add(index)
                todo.append(index)
    return {_package(pathlib.Path(units[index]["target"]["src_path"])) for index in seen}


def _package(path: pathlib.Path) -> pathlib.Path:
    """The package that a source file is of."""
    return next(parent for parent in path.parents if (parent / "Cargo.toml").is_file())
