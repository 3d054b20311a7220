"""Locks on single chunks, shared by all threads and processes that write to one upload.

The kernel releases them when their process dies. There are two kinds. Processes that share an upload folder must use
the same kind, and they do if they run the same Python.

POSIX record locks, which every system has, do not work here. They belong to a process instead of an open file: they do
not keep threads apart, and closing any descriptor of the file releases them all.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from contextlib import suppress
from typing import Protocol


class ChunkLock(Protocol):
    """The lock on one chunk. An object is for one use at a time."""

    def __init__(self, fence: int, path: str, number: int) -> None: ...

    def take(self) -> bool:
        """Take the lock without waiting. Return whether that succeeded."""
        ...

    def release(self) -> None:
        """Release the lock."""
        ...


class RecordLock:
    """Locks a byte of the fence on behalf of the open file (an "OFD lock").

    :param fence: The descriptor of the fence. Each descriptor that was opened separately has its own locks.
    :param path: The path of the fence.
    :param number: The number of the chunk.
    """

    __slots__ = ("_fence", "_number")

    def __init__(self, fence: int, path: str, number: int) -> None:
        self._fence = fence
        self._number = number

    def take(self) -> bool:
        return self._set(fcntl.F_WRLCK)

    def release(self) -> None:
        self._set(fcntl.F_UNLCK)

    def _set(self, kind: int) -> bool:
        lock = struct.pack("@hhqqi", kind, os.SEEK_SET, _FIRST + self._number, 1, 0)  # struct flock
        try:
            fcntl.fcntl(self._fence, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError:
            return False
        return True


class LockFile:
    """Locks a separate file for the chunk next to the fence, ``<fence>.<number>`` (``flock``).

    The file exists while somebody has the lock. The holder removes it before releasing the lock, so that nothing is
    left when the upload is over. A process that opened it before that gets a lock that keeps nobody out, detects that,
    and tries again.

    :param fence: The descriptor of the fence.
    :param path: The path of the fence.
    :param number: The number of the chunk.
    """

    __slots__ = ("_descriptor", "_path")

    def __init__(self, fence: int, path: str, number: int) -> None:
        self._path = f"{path}.{number}"
        self._descriptor = -1

    def take(self) -> bool:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_in_place(descriptor):
                    self._descriptor = descriptor
                    return True
            except BlockingIOError:
                os.close(descriptor)
                return False
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        try:
            # An empty file that is left behind does no harm: the next lock uses it, or delete_expired removes it.
            with suppress(OSError):
                os.unlink(self._path)
        finally:
            os.close(descriptor)

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        here = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


_FIRST = 8  # bytes; the fence's number comes first

# Not by the name alone: macOS has such locks, too, but only for some programs, and its struct flock differs.
has_record_locks = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")
chunk_lock: type[ChunkLock] = RecordLock if has_record_locks else LockFile
