"""The mutants that survive for a reason, in ``explained.txt``. Lines may move; a changed line is a new mutant."""

from __future__ import annotations

from pathlib import Path

PATH = Path(__file__).with_name("explained.txt")


def explained(path: Path = PATH) -> dict[str, str]:
    """Return the reasons, by the mutant's key.

    Each entry is a function, its line as it is and as it becomes, and the reason::

        core/upload.py Upload.is_whole
        - return self.length is not None and self.offset == self.length
        + return self.length is not None and self.offset != self.length
        = The reason.
    """
    reasons: dict[str, str] = {}
    lines: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("= "):
            reasons["\n".join(lines)] = line[2:]
            lines = []
        elif line and not line.startswith("#"):
            lines.append(line)
    return reasons
