"""A file with the number of the claim that may write, which is the newest, and how far its writer has got.

The number is checked around every block, under a lock of the operating system. So a writer that was overtaken, however
long it slept, cannot change a byte. The kernel releases the locks of a process that dies.

The file contains the number (8 bytes), the offset after the last byte written (8), and an id of the machine's current
boot (16). Bytes that were written before a power failure may be missing after it, so they do not count then. For chunks
in any order, the file has a mark for each chunk instead, from byte 8.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextlib import suppress
from typing import Self

from ...errors import ClaimLost
from ...errors import UploadLocked
from ...processes import boot
from ..file_io import file_errors
from .locks import chunk_lock
from .locks import ChunkLock

CLOSED = 2**63 - 1  # greater than the number of any claim: nobody may write any more
_SIZE = 8  # bytes
_NOTE = struct.Struct(">QQ16s")
_POLL = 0.005  # seconds between two attempts; waiting in the kernel would block all greenlets of a worker
_PATIENCE = 30  # seconds


class Fence:
    """The fence of one upload. Each writer has its own object."""

    def __init__(self, descriptor: int, path: str, *, is_new: bool) -> None:
        self._descriptor = descriptor
        self._path = path
        self.is_new = is_new  # whether it was just created: the upload has just begun, or is over

    @classmethod
    def open(cls, path: str, *, expect_new: bool = False) -> Self:
        """Open the fence, or create it.

        :param expect_new: Whether to try creating it first, because that is more likely to succeed.
        """
        while True:
            if not expect_new:
                with suppress(FileNotFoundError):
                    return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC), path, is_new=False)
            expect_new = False
            with suppress(FileExistsError):
                created = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                return cls(created, path, is_new=True)

    def close(self) -> None:
        """Close the file. The fence stays in place."""
        os.close(self._descriptor)

    def raise_to(self, number: int, progress: int | None = None) -> None:
        """Lock out all writers with a smaller number.

        :param progress: The byte from which the new writer writes. ``None`` keeps the offset in the file.
        :raises ClaimLost: The fence has a greater number already.
        """
        with _Lock(self._descriptor, fcntl.LOCK_EX):
            current = self._read()
            if current > number or not self._is_in_place():
                raise ClaimLost
            if progress is not None:
                os.pwrite(self._descriptor, _NOTE.pack(number, progress, boot()), 0)
            elif current < number:
                os.pwrite(self._descriptor, number.to_bytes(_SIZE, "big"), 0)

    def lower(self, known: int, newest: Callable[[], int | None]) -> None:
        """Lower the number to that of the newest claim, if it is greater.

        A claim is in the record before it is here. So if it is here only, the record has lost it, and its holder is
        gone. Nobody else can raise the number while ``newest`` is asked.

        :param known: The number of a claim that was the newest a moment ago.
        :param newest: Returns the number of the newest claim, or ``None`` if nobody may write.
        """
        with _Lock(self._descriptor, fcntl.LOCK_EX):
            current = self._read()
            if current <= known or not self._is_in_place():
                return
            number = newest()
            if number is not None and number < current:
                os.pwrite(self._descriptor, number.to_bytes(_SIZE, "big"), 0)

    def note(self, progress: int) -> None:
        """Record that all bytes before ``progress`` were written. Call it while :meth:`held`."""
        os.pwrite(self._descriptor, progress.to_bytes(_SIZE, "big"), _SIZE)

    @staticmethod
    def progress(path: str) -> tuple[int, int]:
        """Return the number of the last writer and the offset after its last byte, or zeros if they are unknown."""
        try:
            with open(path, "rb", buffering=0) as file:
                note = file.read(_NOTE.size)
        except FileNotFoundError:
            return 0, 0
        if len(note) < _NOTE.size:
            return 0, 0
        number, progress, noted_in = _NOTE.unpack(note)
        return (number, progress) if noted_in == boot() else (number, 0)

    def take_down(self, file: str) -> None:
        """Remove a fence that was created for an upload that is over, and lock out requests that have it open.

        It stays if the ``file`` exists, because then the upload has just begun and others are writing.
        """
        with _Lock(self._descriptor, fcntl.LOCK_EX):
            if not os.path.exists(file) and self._is_in_place():
                os.pwrite(self._descriptor, CLOSED.to_bytes(_SIZE, "big"), 0)
                os.unlink(self._path)

    def held(self, number: int) -> AbstractContextManager[None]:
        """Make newer writers wait during a write. The context can be entered again for the next write.

        :raises ClaimLost: There already is a newer writer.
        """
        return _Held(self._descriptor, number)

    def shared(self, *, again: bool = False) -> AbstractContextManager[None]:
        """Keep the upload from being finished or removed during a write. Others may share the fence at the same time.

        :param again: Whether it was shared before. The fence is closed before it is removed, so only that is checked.
        :raises ClaimLost: The upload was finished or removed.
        """
        return _Lock(self._descriptor, fcntl.LOCK_SH, self._check_open if again else self._check_in_place)

    def alone_at(self, number: int, check: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """Keep others away from a chunk within the context.

        :param number: The number of the chunk.
        :param check: Called while others have the chunk. It may raise to stop waiting.
        :raises UploadLocked: Another request did not release the chunk in time.
        """
        return _ChunkLock(chunk_lock(self._descriptor, self._path, number), check)

    def mark(self, number: int, mark: bytes) -> bool:
        """Leave a mark of 8 bytes for a chunk. Return whether it is the first. Call it in :meth:`alone_at`."""
        is_first = not any(self.marked(number))
        os.pwrite(self._descriptor, mark, _SIZE * number)
        return is_first

    def marked(self, number: int) -> bytes:
        """Return the latest mark for a chunk."""
        return os.pread(self._descriptor, _SIZE, _SIZE * number)

    def check(self, number: int) -> None:
        """Check that the claim with this number may still write.

        :raises ClaimLost: It may not.
        """
        if self._read() != number:
            raise ClaimLost

    def _check_open(self) -> None:
        if self._read() == CLOSED:
            raise ClaimLost

    def _check_in_place(self) -> None:
        self._check_open()
        if not self._is_in_place():
            raise ClaimLost

    def _read(self) -> int:
        return int.from_bytes(os.pread(self._descriptor, _SIZE, 0), "big")

    def _is_in_place(self) -> bool:
        """Whether the path still leads to this file, which is removed with its upload."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        here = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


class _Lock:
    """A lock on the whole fence within the context, which is entered only if ``check`` does not raise."""

    __slots__ = ("_check", "_descriptor", "_kind")

    def __init__(self, descriptor: int, kind: int, check: Callable[[], None] | None = None) -> None:
        self._descriptor = descriptor
        self._kind = kind
        self._check = check

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, self._kind)
        if self._check is not None:
            try:
                self._check()
            except BaseException:
                self.__exit__()
                raise

    def __exit__(self, *error: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


class _Held:
    """The lock on the whole fence for one block of the writer with this number.

    This is entered for every block, however small, so it does little else than its system calls.
    """

    __slots__ = ("_descriptor", "_number")

    def __init__(self, descriptor: int, number: int) -> None:
        self._descriptor = descriptor
        self._number = number.to_bytes(_SIZE, "big")

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            if os.pread(self._descriptor, _SIZE, 0) != self._number:
                raise ClaimLost
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


class _ChunkLock:
    """The lock on a single chunk, independent of the fence's own."""

    __slots__ = ("_check", "_lock")

    def __init__(self, lock: ChunkLock, check: Callable[[], None] | None) -> None:
        self._lock = lock
        self._check = check

    def __enter__(self) -> None:
        with file_errors:
            is_taken = self._lock.take()
        if not is_taken:
            self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            if self._check is not None:
                self._check()
            if time.monotonic() > deadline:
                raise UploadLocked
            time.sleep(_POLL)
            with file_errors:
                if self._lock.take():
                    return

    def __exit__(self, *error: object) -> None:
        self._lock.release()
