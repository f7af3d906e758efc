"""What is released for, by Rust's names."""

import pathlib
import re

# One list for scripts and for this.
_LIST = pathlib.Path(__file__).parent.parent / "architectures.sh"
TARGETS = re.findall(r"\btarget=(\S+)", _LIST.read_text(encoding="utf-8"))
