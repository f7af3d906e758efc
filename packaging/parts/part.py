"""What is known of one part."""

import dataclasses
import pathlib
import re
import sys
import urllib.parse

from parts.targets import TARGETS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One part. Its purl is what OpenVEX and the SBOM know it by."""

    name: str
    version: str
    # An SPDX expression.
    licence: str
    purl: str
    supplier: str
    # Vendor and product as NVD has them: of C and C++, scanners know nothing else.
    cpe: str = ""
    # Where its source is.
    source: str = ""
    # What THIRD-PARTY.txt calls it, and the file with the text; several where it has
    # several.
    texts: tuple[tuple[str, pathlib.Path], ...] = ()
    # What THIRD-PARTY.txt says where there is no text.
    without: str = ""
    # The purls of what it uses.
    needs: frozenset[str] = frozenset()
    # The purl of what brings it.
    carrier: str = ""
    targets: frozenset[str] = frozenset(TARGETS)
    # Of the package as it is downloaded.
    sha256: str = ""
    # Where the version stands, if that is not in the part itself.
    version_from: str = ""
    # The source that generated files in it are made of, with its revision.
    generated_from: tuple[str, ...] = ()
    # Why nothing of it is in the program, though it is built beside it.
    left_out: str = ""


def purl(kind: str, name: str, version: str, subpath: str = "") -> str:
    """https://github.com/package-url/purl-spec: a version's + is encoded."""
    version = urllib.parse.quote(version, safe=":")
    return f"pkg:{kind}/{name}@{version}" + (f"#{subpath}" if subpath else "")


def spdx(licence: str) -> str:
    """Cargo still takes a slash for OR, which SPDX does not know."""
    return re.sub(r"\s*/\s*", " OR ", licence)


def found(path: pathlib.Path, pattern: str) -> str:
    """What the one group of the pattern is in a file. A version that is not where it
    was must not become an SBOM without it, or with another part's."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        sys.exit(f"error: {path}: {error.strerror}; packaging/parts/ looks for {pattern!r} there")
    matches = set(re.findall(pattern, text, re.MULTILINE))
    if len(matches) != 1:
        sys.exit(
            f"error: {path} has {len(matches)} of {pattern!r}, and not one;"
            " correct packaging/parts/"
        )
    return matches.pop()
