#!/usr/bin/env python3
"""Collects the licence texts of everything that is linked into the binary.

    packaging/licences.py OUT ZIG

OUT becomes a directory with LICENSE and NOTICE of this project and
THIRD-PARTY.txt, each text once, headed by the parts it is for. ZIG is the
environment that packaging/static.sh makes, whose musl and libc++ are linked.
"""

import collections
import pathlib
import shutil
import sys

import parts


def main() -> None:
    out, zig = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    # Text -> the parts it is for.
    texts: dict[str, list[str]] = collections.OrderedDict()
    without = []
    _, others = parts.everything(zig)
    for part in others:
        for heading, path in part.texts:
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            texts.setdefault(text, []).append(heading)
        if part.without:
            without.append(part.without)

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in ("LICENSE", "NOTICE"):
        shutil.copyfile(name, out / name)
    rule = "=" * 79
    with (out / "THIRD-PARTY.txt").open("w", encoding="utf-8") as file:
        for text, headings in texts.items():
            file.write(f"{rule}\n" + "\n".join(dict.fromkeys(headings)) + f"\n{rule}\n\n{text}\n\n")
        file.write(f"{rule}\nParts that name their licence without its text\n{rule}\n\n")
        file.write("\n".join(without) + "\n")


if __name__ == "__main__":
    main()
