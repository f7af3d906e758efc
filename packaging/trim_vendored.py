#!/usr/bin/env python3
"""Empties the packages in a vendored tree that no Linux build compiles.

    packaging/trim_vendored.py DIRECTORY

DIRECTORY is what `cargo vendor --versioned-dirs` made, in the current package. Cargo
wants the manifest of each package that Cargo.lock names, also of those for Windows,
which are more than half of the whole and for the most part compiled libraries. Of these
the manifest stays, with empty files for the targets that it names.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

# What is released, and what `make build` and `make test` build on such machines.
LIBRARIES = ("linux-musl", "linux-gnu")
PLATFORMS = [
    f"{machine}-unknown-{library}{abi}"
    for machine, abi in (
        ("x86_64", ""),
        ("aarch64", ""),
        ("armv7", "eabihf"),
        ("riscv64gc", ""),
    )
    for library in LIBRARIES
]


def needed() -> set[str]:
    """The directories of what some platform compiles, dev-dependencies included."""
    found = set()
    for platform in PLATFORMS:
        metadata = json.loads(
            subprocess.run(
                [os.environ.get("CARGO", "cargo"), "metadata", "--format-version=1", "--locked"]
                + [f"--filter-platform={platform}"],
                check=True,
                stdout=subprocess.PIPE,
            ).stdout
        )
        ids = {node["id"] for node in metadata["resolve"]["nodes"]}
        found |= {
            f"{package['name']}-{package['version']}"
            for package in metadata["packages"]
            if package["id"] in ids
        }
    return found


def empty(package: pathlib.Path) -> None:
    text = (package / "Cargo.toml").read_bytes()
    checksum = json.loads((package / ".cargo-checksum.json").read_text())
    manifest = tomllib.loads(text.decode())
    targets = [manifest.get("lib", {}).get("path", "src/lib.rs")]
    for kind in ("bin", "example", "test", "bench"):
        targets += [target["path"] for target in manifest.get(kind, []) if "path" in target]
    if isinstance(manifest["package"].get("build"), str):
        targets.append(manifest["package"]["build"])
    shutil.rmtree(package)
    package.mkdir()
    (package / "Cargo.toml").write_bytes(text)
    for target in targets:
        path = package / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    # The package's own sum stays, which Cargo compares with Cargo.lock's.
    (package / ".cargo-checksum.json").write_text(
        json.dumps({"files": {}, "package": checksum["package"]})
    )


def main() -> None:
    root = pathlib.Path(sys.argv[1])
    keep = needed()
    for package in sorted(root.iterdir()):
        if package.name not in keep:
            empty(package)


if __name__ == "__main__":
    main()
