"""Locks of single chunks, among all threads and processes that write to one upload.

The kernel frees them when their process dies. Two kinds exist, and the processes that share an upload folder must agree
on one: they do, as long as they run the same Python.

POSIX's record locks, which every system has, are not among them. They belong to a process, not to an open file: threads
do not keep each other out, and closing any descriptor of the file gives all of them up.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from contextlib import suppress
from typing import Protocol


class ChunkLock(Protocol):
    """One chunk's lock. An object is for one use at a time."""

    def __init__(self, fence: int, path: str, number: int) -> None: ...

    def take(self) -> bool:
        """Take the lock, without waiting; whether that was possible."""
        ...

    def release(self) -> None:
        """Let others have it."""
        ...


class RecordLock:
    """A byte of the fence, locked on behalf of the open file (an "OFD lock").

    :param fence: The fence's descriptor. Each descriptor from ``open`` has locks of its own.
    :param path: The fence's name.
    :param number: The chunk's number.
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
    """A file of the chunk's own beside the fence, ``<fence>.<number>``, locked as a whole (``flock``).

    It is there while somebody has the lock. Whoever has it removes the file before letting go, so that nothing is left
    when an upload is over. Whoever opened it before and gets the lock then has a lock that keeps nobody out, notices
    that, and tries again.

    :param fence: The fence's descriptor.
    :param path: The fence's name.
    :param number: The chunk's number.
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
            # An empty file that stays behind is no harm: the next one takes it, or delete_expired does.
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


_FIRST = 8  # bytes: the fence's number comes before

# Not by the name alone: macOS knows such locks, too, but not for everybody, and its struct flock has another layout.
has_record_locks = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")
chunk_lock: type[ChunkLock] = RecordLock if has_record_locks else LockFile
