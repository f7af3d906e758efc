"""The parts that the shipped binaries are linked from: what licences.py collects the
texts of, and sbom.py lists. Both ask here, so that they cannot disagree."""

import pathlib

from parts import carried, crates, standard_library, system
from parts.part import Part
from parts.targets import TARGETS

__all__ = ["TARGETS", "Part", "everything"]


def everything(zig: pathlib.Path) -> tuple[Part, list[Part]]:
    """This project, and every other part in the order of THIRD-PARTY.txt. `zig` is
    the environment that packaging/static.sh makes."""
    found = crates.linked()
    (ours,) = (crate.part for crate in found if crate.is_root)
    others = []
    for crate in found:
        if not crate.is_root:
            others += [crate.part, *carried.by(crate)]
    return ours, [*others, *system.parts(zig), *standard_library.parts()]
