"""The C and C++ that packages carry of other projects. grpcio-sys compiles gRPC's
target grpc_unsecure and what that needs; packaging/check_sbom.py holds this list to
its CMakeLists.txt."""

import pathlib
import re
from collections.abc import Callable

from parts.crates import Crate
from parts.part import Part, found, purl

THIRD_PARTY = "grpc/third_party/"
# Bazel's list, which gRPC keeps at the revisions that it has in third_party/.
PINS = "grpc/bazel/grpc_deps.bzl"
# A test looks for them in the program: LEFT_OUT of tests/integration/security.rs, which
# has them by the names of their texts.
NOT_LINKED = "compiled, and nothing of it is in the program"
# Its header is in reach, for xDS.
NOT_INCLUDED = "no source that is compiled includes it"
# What upb's generated files in src/core/ext/upb-generated are made of, by the
# directory there; the rest is gRPC's own.
GENERATED = {
    "google/api": "googleapis",
    "google/protobuf": "protobuf",
    "google/rpc": "googleapis",
    "validate": "protoc-gen-validate",
    "xds": "xds",
}


def by(crate: Crate) -> list[Part]:
    """What this package carries."""
    makers: dict[str, Callable[[Crate], list[Part]]] = {"grpcio-sys": _grpc, "libz-sys": _zlib}
    make = makers.get(crate.part.name)
    return make(crate) if make else []


def _zlib(crate: Crate) -> list[Part]:
    directory = crate.directory / "src/zlib"
    version = found(directory / "zlib.h", r'^#define ZLIB_VERSION "(.+)"')
    return [
        Part(
            name="zlib",
            version=version,
            licence="Zlib",
            purl=purl("generic", "zlib", version),
            supplier="Jean-loup Gailly and Mark Adler",
            cpe="zlib:zlib",
            source="https://github.com/madler/zlib",
            texts=(("zlib", directory / "LICENSE"),),
            carrier=crate.part.purl,
        )
    ]


def pinned(directory: pathlib.Path, name: str) -> str:
    """The revision of Bazel's list."""
    return found(directory / PINS, rf'^ *strip_prefix = "{re.escape(name)}-([0-9a-f-]{{8,}})"')


def _grpc(crate: Crate) -> list[Part]:
    home = crate.directory
    third_party = home / THIRD_PARTY
    version = found(home / "grpc/CMakeLists.txt", r'^set\(PACKAGE_VERSION +"(.+)"\)')
    core = purl("github", "grpc/grpc", f"v{version}")
    grpc_github = "https://github.com/grpc/grpc"

    def part(
        name: str,
        version: str,
        licence: str,
        purl: str,
        supplier: str,
        source: str,
        text: tuple[str, str],
        carrier: str = core,
        **more: str,
    ) -> Part:
        heading, path = text
        return Part(
            name=name,
            version=version,
            licence=licence,
            purl=purl,
            supplier=supplier,
            source=source,
            texts=((heading, third_party / path),),
            carrier=carrier,
            **more,
        )

    def macro(header: str, name: str) -> str:
        return found(third_party / header, rf'^#define {name} +"?([^"\s]+)"?$')

    abseil = ".".join(
        macro("abseil-cpp/absl/base/config.h", f"ABSL_LTS_RELEASE_{name}")
        for name in ("VERSION", "PATCH_LEVEL")
    )
    cares = macro("cares/cares/include/ares_version.h", "ARES_VERSION_STR")
    xxhash = ".".join(
        macro("xxhash/xxhash.h", f"XXH_VERSION_{name}") for name in ("MAJOR", "MINOR", "RELEASE")
    )
    re2, upb = pinned(home, "re2"), pinned(home, "upb")
    # Two have no version and are pinned nowhere: gRPC's repository has the files
    # themselves, so its version is theirs.
    address_sorting, utf8_range = (
        purl("github", "grpc/grpc", f"v{version}", f"third_party/{name}")
        for name in ("address_sorting", "utf8_range")
    )
    upb_purl = purl("github", "protocolbuffers/upb", upb)
    return [
        Part(
            name="grpc",
            version=version,
            # LICENSE has the MPL besides, for etc/roots.pem, which is not even there;
            # and the BSD licence of 2016, for what remains of that time.
            licence="Apache-2.0 AND BSD-3-Clause",
            purl=core,
            supplier="gRPC Authors",
            cpe="grpc:grpc",
            source=grpc_github,
            texts=(
                ("gRPC C-core", home / "grpc/LICENSE"),
                ("gRPC C-core, notices", home / "grpc/NOTICE.txt"),
            ),
            carrier=crate.part.purl,
            generated_from=_generated_from(home),
        ),
        part(
            "abseil-cpp",
            abseil,
            "Apache-2.0",
            purl("generic", "abseil-cpp", abseil),
            "The Abseil Authors",
            "https://github.com/abseil/abseil-cpp",
            text=("Abseil", "abseil-cpp/LICENSE"),
            cpe="abseil:common_libraries",
        ),
        part(
            "re2",
            re2,
            "BSD-3-Clause",
            purl("github", "google/re2", re2),
            "The RE2 Authors",
            "https://github.com/google/re2",
            text=("RE2", "re2/LICENSE"),
            version_from=PINS,
            left_out=NOT_LINKED,
        ),
        part(
            "address_sorting",
            version,
            "BSD-3-Clause",
            address_sorting,
            "gRPC Authors",
            grpc_github,
            text=("address_sorting", "address_sorting/LICENSE"),
            version_from="grpc/CMakeLists.txt",
            left_out=NOT_LINKED,
        ),
        part(
            "c-ares",
            cares,
            "MIT",
            purl("generic", "c-ares", cares),
            "The c-ares project",
            "https://github.com/c-ares/c-ares",
            text=("c-ares", "cares/cares/LICENSE.md"),
            cpe="c-ares:c-ares",
            left_out=NOT_LINKED,
        ),
        part(
            "upb",
            upb,
            "BSD-3-Clause",
            upb_purl,
            "Google LLC",
            "https://github.com/protocolbuffers/upb",
            text=("upb", "upb/LICENSE"),
            version_from=PINS,
        ),
        part(
            "utf8_range",
            version,
            "MIT",
            utf8_range,
            "gRPC Authors",
            grpc_github,
            text=("utf8_range", "utf8_range/LICENSE"),
            version_from="grpc/CMakeLists.txt",
            carrier=upb_purl,
        ),
        part(
            "xxhash",
            xxhash,
            "BSD-2-Clause",
            purl("github", "cyan4973/xxhash", f"v{xxhash}"),
            "Yann Collet",
            "https://github.com/Cyan4973/xxHash",
            text=("xxHash", "xxhash/LICENSE"),
            left_out=NOT_INCLUDED,
        ),
    ]


def _generated_from(home: pathlib.Path) -> tuple[str, ...]:
    return tuple(f"{name} {pinned(home, name)}" for name in sorted(set(GENERATED.values())))
