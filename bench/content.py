"""The content of uploads: random bytes that repeat after a period. Each upload takes a different stretch."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from bench.units import MIB

PERIOD = 64 * MIB + 4099  # a prime number of bytes off: a block at a wrong place is never the right block


def make(path: Path) -> None:
    """Write one period to a file."""
    with path.open("wb") as file:
        for _ in range(PERIOD // MIB):
            file.write(os.urandom(MIB))
        file.write(os.urandom(PERIOD % MIB))


def phase_of(number: int) -> int:
    """Where in the period the upload with this number begins."""
    return number * 15_485_863 % PERIOD


class Content:
    """The bytes, by position."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")
        self._map = mmap.mmap(self.file.fileno(), 0, prot=mmap.PROT_READ)

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._map.close()
        self.file.close()

    def at(self, position: int, size: int) -> bytes:
        """``size`` bytes from ``position`` on."""
        start = position % PERIOD
        found = self._map[start : start + size]
        return found if len(found) == size else found + self.at(0, size - len(found))

    def differs(self, path: Path, phase: int, size: int) -> str | None:
        """Compare a stored file with what was sent; what is wrong with it, or ``None``."""
        if path.stat().st_size != size:
            return f"{path.name} has {path.stat().st_size} bytes, not {size}"
        with path.open("rb") as file:
            done = 0
            while done < size:
                step = min(MIB, size - done)
                if file.read(step) != self.at(phase + done, step):
                    return f"{path.name} differs from what was sent, after byte {done}"
                done += step
        return None
