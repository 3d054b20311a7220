"""A number in a file that says which claim may write: the newest.

Checked under a lock of the operating system around every block, so a writer that was overtaken, however long it slept,
cannot touch a byte. The kernel frees the locks of a process that dies.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import Self

from ..errors import ClaimLost
from ..errors import UploadLocked

CLOSED = 2**63 - 1  # above every claim: nobody may write any more
_SIZE = 8  # bytes
_POLL = 0.005  # seconds between two looks at a lock; waiting in the kernel would stop all greenlets of a worker
_PATIENCE = 30  # seconds


class Fence:
    """One upload's fence. One object for one writer."""

    def __init__(self, descriptor: int, path: Path, *, is_new: bool) -> None:
        self._descriptor = descriptor
        self._path = path
        self.is_new = is_new  # there was none: the upload has just begun, or is over

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the fence, or put one up."""
        while True:
            with suppress(FileNotFoundError):
                return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC), path, is_new=False)
            with suppress(FileExistsError):
                created = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                return cls(created, path, is_new=True)

    def close(self) -> None:
        """Done with it; the fence stays where it is."""
        os.close(self._descriptor)

    def raise_to(self, number: int) -> None:
        """Lock out all writers with a smaller number.

        :raises ClaimLost: The fence is higher already.
        """
        with self._locked(fcntl.LOCK_EX):
            current = self._read()
            if current > number or not self._is_in_place():
                raise ClaimLost
            if current < number:
                os.pwrite(self._descriptor, number.to_bytes(_SIZE, "big"), 0)

    def take_down(self, file: Path) -> None:
        """Remove the fence, with all locked out who have it open. For who has put it up for an upload that is over.

        It stays if there is a ``file`` behind it: then the upload has only just begun, and others write by now.
        """
        with self._locked(fcntl.LOCK_EX):
            if not file.exists() and self._is_in_place():
                os.pwrite(self._descriptor, CLOSED.to_bytes(_SIZE, "big"), 0)
                self._path.unlink()

    @contextmanager
    def held(self, number: int) -> Iterator[None]:
        """Keep newer writers waiting for the length of a write.

        :raises ClaimLost: One has come before.
        """
        with self._locked(fcntl.LOCK_EX):
            self.check(number)
            yield

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Keep the upload from being finished or removed for the length of a write, beside others that do the same.

        :raises ClaimLost: That has happened.
        """
        with self._locked(fcntl.LOCK_SH):
            if self._read() == CLOSED or not self._is_in_place():
                raise ClaimLost
            yield

    @contextmanager
    def alone_at(self, number: int) -> Iterator[None]:
        """Keep others from chunk ``number`` for the length of the block.

        :raises UploadLocked: Somebody else would not let go of it.
        """
        deadline = time.monotonic() + _PATIENCE
        while not self._try_lock(fcntl.F_WRLCK, number):
            if time.monotonic() > deadline:
                raise UploadLocked
            time.sleep(_POLL)
        try:
            yield
        finally:
            self._try_lock(fcntl.F_UNLCK, number)

    def mark(self, number: int, mark: bytes) -> bool:
        """Leave a mark for chunk ``number``, of 8 bytes; whether it is the first. To be called while alone there."""
        is_first = not any(self.marked(number))
        os.pwrite(self._descriptor, mark, _SIZE * number)
        return is_first

    def marked(self, number: int) -> bytes:
        """The last mark for chunk ``number``."""
        return os.pread(self._descriptor, _SIZE, _SIZE * number)

    def check(self, number: int) -> None:
        """Whether ``number`` may still write.

        :raises ClaimLost: It may not.
        """
        if self._read() != number:
            raise ClaimLost

    def _read(self) -> int:
        return int.from_bytes(os.pread(self._descriptor, _SIZE, 0), "big")

    def _is_in_place(self) -> bool:
        """Whether this is still the file by that name: it goes away with its upload."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        here = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        fcntl.flock(self._descriptor, kind)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _try_lock(self, kind: int, number: int) -> bool:
        """Lock or free one byte for one chunk, behind the fence's own; each open file has locks of its own."""
        lock = struct.pack("@hhqqi", kind, os.SEEK_SET, _SIZE + number, 1, 0)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError:
            return False
        return True
