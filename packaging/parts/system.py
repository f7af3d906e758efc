"""What zig brings and links: C's and C++'s libraries, and its own compiler-rt."""

import pathlib
import sys

from parts.part import Part, found, purl

LLVM = "https://github.com/llvm/llvm-project"
# Each with the directory of LLVM's repository, which is zig's, too.
LLVM_PARTS = {
    "LLVM libc++": "libcxx",
    "LLVM libc++abi": "libcxxabi",
    "LLVM libunwind": "libunwind",
}


def one(zig: pathlib.Path, pattern: str) -> pathlib.Path:
    paths = list(zig.glob(f"lib/python3*/site-packages/{pattern}"))
    if len(paths) != 1:
        sys.exit(f"error: {zig} has {len(paths)} of {pattern}; run: make static")
    return paths[0]


def parts(zig: pathlib.Path) -> list[Part]:
    library = one(zig, "ziglang/lib")
    version = found(one(zig, "ziglang-*.dist-info/METADATA"), r"^Version: (.+)$")
    musl = found(library / "libc/musl/src/internal/version.h", r'^#define VERSION "(.+)"')
    # XXYYZZ. The others have no version of their own (libunwind's macro says 15000,
    # and has since LLVM 15); zig takes all three of one release.
    number = int(found(library / "libcxx/include/__config", r"^# *define _LIBCPP_VERSION (\d+)$"))
    llvm = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    ziglang = purl("pypi", "ziglang", version)
    return [
        Part(
            name="musl",
            version=musl,
            licence="MIT",
            purl=purl("generic", "musl", musl),
            supplier="The musl project",
            cpe="musl-libc:musl",
            source="https://git.musl-libc.org/cgit/musl",
            texts=(("musl", library / "libc/musl/COPYRIGHT"),),
            carrier=ziglang,
        ),
        *(
            Part(
                name=directory,
                version=llvm,
                licence="Apache-2.0 WITH LLVM-exception",
                purl=purl("github", "llvm/llvm-project", f"llvmorg-{llvm}", directory),
                supplier="The LLVM Project",
                source=LLVM,
                texts=((heading, library / directory / "LICENSE.TXT"),),
                carrier=ziglang,
                version_from="" if directory == "libcxx" else "libcxx/include/__config",
            )
            for heading, directory in LLVM_PARTS.items()
        ),
        # Of the package itself compiler-rt is linked, and nothing else.
        Part(
            name="ziglang",
            version=version,
            licence="MIT",
            purl=ziglang,
            supplier="Zig contributors",
            source="https://github.com/ziglang/zig",
            texts=(("zig's compiler-rt", library / "../LICENSE"),),
        ),
    ]
