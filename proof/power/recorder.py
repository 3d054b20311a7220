"""A disk in memory that writes down everything it is told: a plugin for nbdkit, run by it and not by us.

Each write, and each flush when it is over, is appended to a log; see ``recording.py`` for its format. How many there
are is counted in a file of eight bytes, so that another process can say between which of them it got a response.
"""

from __future__ import annotations

import builtins
import mmap
import struct
from typing import Any
from typing import BinaryIO

import nbdkit  # type: ignore[import-not-found]  # there within nbdkit only

API_VERSION = 2
_HEAD = struct.Struct("<cQI")
_COUNT = struct.Struct("<Q")

_settings: dict[str, str] = {}
_disk = bytearray()
_log: BinaryIO
_counter: mmap.mmap
_count = 0


def config(key: str, value: str) -> None:
    """Take ``size=BYTES``, ``log=FILE`` or ``count=FILE``."""
    _settings[key] = value


def thread_model() -> Any:
    """Let one request run at a time, so that the log has an order."""
    return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS


def after_fork() -> None:
    """Begin with an empty disk."""
    global _disk, _log, _counter
    _disk = bytearray(int(_settings["size"]))
    _log = builtins.open(_settings["log"], "ab", buffering=0)
    with builtins.open(_settings["count"], "r+b") as file:
        _counter = mmap.mmap(file.fileno(), _COUNT.size)


def open(readonly: bool) -> object:
    """Serve a connection."""
    return _disk


def get_size(handle: object) -> int:
    """The size of the disk in bytes."""
    return len(_disk)


def can_write(handle: object) -> bool:
    """Yes."""
    return True


def can_flush(handle: object) -> bool:
    """Yes, like a drive with a cache of its own."""
    return True


def pread(handle: object, buffer: Any, offset: int, flags: int) -> None:
    """Read."""
    buffer[:] = memoryview(_disk)[offset : offset + len(buffer)]


def pwrite(handle: object, buffer: Any, offset: int, flags: int) -> None:
    """Write."""
    _disk[offset : offset + len(buffer)] = buffer
    _record(b"W", offset, buffer)


def flush(handle: object, flags: int) -> None:
    """Flush: from now on, all that was written before survives."""
    _record(b"F", 0, b"")


def _record(kind: bytes, offset: int, data: Any) -> None:
    global _count
    _log.write(_HEAD.pack(kind, offset, len(data)) + bytes(data))
    _count += 1
    _COUNT.pack_into(_counter, 0, _count)
