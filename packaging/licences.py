#!/usr/bin/env python3
"""Collects the licence texts of everything that is linked into the binary.

    packaging/licences.py OUT ZIG

OUT becomes a directory with LICENSE and NOTICE of this project and
THIRD-PARTY.txt, each text once, headed by the parts it is for. ZIG is the
environment that packaging/static.sh makes, whose musl and libc++ are linked.
"""

import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys

TARGETS = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"]
NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE")

# What packages carry of other projects, and the text for each.
CARRIED = {
    "grpcio-sys": {
        "gRPC C-core": "grpc/LICENSE",
        "gRPC C-core, notices": "grpc/NOTICE.txt",
        "Abseil": "grpc/third_party/abseil-cpp/LICENSE",
        "RE2": "grpc/third_party/re2/LICENSE",
        "address_sorting": "grpc/third_party/address_sorting/LICENSE",
        "c-ares": "grpc/third_party/cares/cares/LICENSE.md",
        "upb": "grpc/third_party/upb/LICENSE",
        "utf8_range": "grpc/third_party/utf8_range/LICENSE",
        "xxHash": "grpc/third_party/xxhash/LICENSE",
    },
    "libz-sys": {"zlib": "src/zlib/LICENSE"},
}
# What zig brings.
SYSTEM = {
    "musl": "libc/musl/COPYRIGHT",
    "LLVM libc++": "libcxx/LICENSE.TXT",
    "LLVM libc++abi": "libcxxabi/LICENSE.TXT",
    "LLVM libunwind": "libunwind/LICENSE.TXT",
    "zig's compiler-rt": "../LICENSE",
}
RUST = (
    "The Rust standard library and the packages it is built from"
    " (MIT OR Apache-2.0, https://github.com/rust-lang/rust); Apache-2.0 is in LICENSE"
)


def packages() -> dict[str, dict]:
    """The packages that are linked, by id: not those that only build."""
    found = {}
    for target in TARGETS:
        cargo = os.environ.get("CARGO", "cargo")
        command = [cargo, "metadata", "--format-version=1", "--locked"]
        metadata = json.loads(
            subprocess.run(
                [*command, f"--filter-platform={target}"],
                check=True,
                stdout=subprocess.PIPE,
            ).stdout
        )
        by_id = {package["id"]: package for package in metadata["packages"]}
        nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
        todo = [metadata["resolve"]["root"]]
        root = todo[0]
        while todo:
            this = todo.pop()
            for dependency in nodes[this]["deps"]:
                linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
                package = by_id[dependency["pkg"]]
                is_macro = any("proc-macro" in t["kind"] for t in package["targets"])
                if linked and not is_macro and dependency["pkg"] not in found:
                    found[dependency["pkg"]] = package
                    todo.append(dependency["pkg"])
        found.pop(root, None)
    return found


def is_licence(path: pathlib.Path) -> bool:
    return path.is_file() and path.name.upper().startswith(NAMES)


def main() -> None:
    out, zig = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    # Text -> the parts it is for.
    texts: dict[str, list[str]] = collections.OrderedDict()
    without = []

    def add(part: str, path: pathlib.Path) -> None:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        texts.setdefault(text, []).append(part)

    for package in sorted(packages().values(), key=lambda package: package["name"]):
        part = f"{package['name']} {package['version']} ({package['license']})"
        directory = pathlib.Path(package["manifest_path"]).parent
        files = sorted(path for path in directory.iterdir() if is_licence(path))
        for path in files:
            add(part, path)
        if not files:
            without.append(f"{part}, {package['repository'] or package['name']}")
        for name, path in CARRIED.get(package["name"], {}).items():
            add(name, directory / path)
    (library,) = zig.glob("lib/python3*/site-packages/ziglang/lib")
    for name, path in SYSTEM.items():
        add(name, library / path)
    without.append(RUST)

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in ("LICENSE", "NOTICE"):
        shutil.copyfile(name, out / name)
    rule = "=" * 79
    with (out / "THIRD-PARTY.txt").open("w", encoding="utf-8") as file:
        for text, parts in texts.items():
            file.write(f"{rule}\n" + "\n".join(dict.fromkeys(parts)) + f"\n{rule}\n\n{text}\n\n")
        file.write(f"{rule}\nParts that name their licence without its text\n{rule}\n\n")
        file.write("\n".join(without) + "\n")


if __name__ == "__main__":
    main()
