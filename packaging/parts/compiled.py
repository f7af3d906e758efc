"""What gRPC's CMakeLists.txt compiles of others' sources for one of its targets: what
the list in carried.py is held to."""

import pathlib
import re
import sys

GENERATED = "src/core/ext/upb-generated/"
# Libraries of other systems.
ELSEWHERE = {"android", "log"}


class Build:
    """The CMakeLists.txt of gRPC, and what it includes."""

    def __init__(self, grpc: pathlib.Path) -> None:
        self.home = grpc
        self.main = (grpc / "CMakeLists.txt").read_text(encoding="utf-8")
        self.targets = set(re.findall(r"\badd_library\(\s*(\S+)\s", self.main))
        self.modules = [
            path.read_text(encoding="utf-8") for path in sorted((grpc / "cmake").glob("*.cmake"))
        ]

    def words(self, target: str) -> list[str]:
        """What a target is made of: sources, libraries, directories of headers."""
        commands = "add_library|target_link_libraries|target_include_directories"
        calls = re.findall(rf"\b(?:{commands})\(\s*{re.escape(target)}\s([^()]*)\)", self.main)
        if not calls:
            sys.exit(f"error: {self.home}/CMakeLists.txt has no target {target}")
        return [word for call in calls for word in re.findall(r'"[^"]*"|\S+', call)]

    def closure(self, target: str) -> list[str]:
        """The words of a target and of those of gRPC's own that it needs, with the
        modules that the others come from."""
        todo, seen, found = [target], {target}, []
        while todo:
            for word in self.words(todo.pop()):
                found.append(word)
                found += self.resolved(word)
                if word in self.targets:
                    if word not in seen:
                        seen.add(word)
                        todo.append(word)
                elif word not in ELSEWHERE and not re.search(r"[./:$]|^-|^\"|^[A-Z]+$", word):
                    sys.exit(f"error: {self.home}/CMakeLists.txt: what is {word}, of {target}?")
        return found

    def resolved(self, word: str) -> list[str]:
        """The modules that set the variables of a word, or make the library that it
        names. What no module sets is empty, or of the system."""
        marks = [rf"\bset\({name}\b" for name in re.findall(r"\$\{(\w+)\}", word)]
        modules = [module for module in self.modules for mark in marks if re.search(mark, module)]
        family, colons, _ = word.partition("::")
        if colons:
            made = [module for module in self.modules if f"TARGET {family}::" in module]
            if not made:
                sys.exit(f"error: {self.home}/cmake: nothing there makes {word}")
            modules += made
        return modules


def third_party(grpc: pathlib.Path, target: str) -> set[str]:
    """The directories of third_party/ with sources that are compiled, or headers that
    may be."""
    named = {
        name
        for word in Build(grpc).closure(target)
        for name in re.findall(r"\bthird_party/([\w.-]+)", word)
    }
    # BoringSSL and zlib are named, too, and are not in the package.
    return {
        name
        for name in named
        if any(
            path.suffix in {".c", ".cc", ".h"} for path in (grpc / "third_party" / name).rglob("*")
        )
    }


def includes(grpc: pathlib.Path, target: str, header: str) -> bool:
    """Whether a source that is compiled, or any header of gRPC's, includes a header."""
    sources = {grpc / word for word in Build(grpc).closure(target) if word.endswith((".c", ".cc"))}
    line = re.compile(rf'^\s*#\s*include\s+["<](?:.*/)?{re.escape(header)}[">]', re.MULTILINE)
    return any(
        line.search(path.read_text(encoding="utf-8", errors="replace"))
        for path in sources | set((grpc / "src").rglob("*.h"))
    )


def generated(grpc: pathlib.Path, target: str) -> set[str]:
    """The directories of files that upb has generated."""
    return {
        word.removeprefix(GENERATED).rpartition("/")[0]
        for word in Build(grpc).closure(target)
        if word.startswith(GENERATED)
    }
