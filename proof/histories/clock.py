"""A clock that can be set from outside while a process runs."""

from __future__ import annotations

import mmap
import struct
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path

_AHEAD = struct.Struct("d")


class Clock:
    """The time, some seconds ahead, as a file says that processes share."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(_AHEAD.pack(0.0))
        with file.open("r+b") as stream:
            self._map = mmap.mmap(stream.fileno(), _AHEAD.size)

    def __call__(self) -> datetime:
        (ahead,) = _AHEAD.unpack(self._map[:])
        return datetime.now(UTC) + timedelta(seconds=ahead)

    def set(self, ahead: float) -> None:
        """Move the clock."""
        self._map[:] = _AHEAD.pack(ahead)
