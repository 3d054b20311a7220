"""A number in a file that says which claim may write: the newest. Beside it, how far that claim's writer has got.

Checked under a lock of the operating system around every block, so a writer that was overtaken, however long it slept,
cannot touch a byte. The kernel frees the locks of a process that dies.

The file has the number (8 bytes), the offset behind the last byte written (8), and the name of the machine's current
run (16): what was written before a loss of power may not be there after it, so it does not count then. Chunks that come
in no order have marks instead, from byte 8 on.
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
from ..file_io import translated
from .locks import chunk_lock
from .locks import ChunkLock

CLOSED = 2**63 - 1  # above every claim: nobody may write any more
_SIZE = 8  # bytes
_NOTE = struct.Struct(">QQ16s")
_POLL = 0.005  # seconds between two looks at a lock; waiting in the kernel would stop all greenlets of a worker
_PATIENCE = 30  # seconds


class Fence:
    """One upload's fence. One object for one writer."""

    def __init__(self, descriptor: int, path: str, *, is_new: bool) -> None:
        self._descriptor = descriptor
        self._path = path
        self.is_new = is_new  # there was none: the upload has just begun, or is over

    @classmethod
    def open(cls, path: str, *, expect_new: bool = False) -> Self:
        """Open the fence, or put one up.

        :param expect_new: Try the latter first: it is more likely.
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
        """Done with it; the fence stays where it is."""
        os.close(self._descriptor)

    def raise_to(self, number: int, progress: int | None = None) -> None:
        """Lock out all writers with a smaller number.

        :param progress: From which byte on the new writer writes; ``None``: what is noted stays.
        :raises ClaimLost: The fence is higher already.
        """
        with _Lock(self._descriptor, fcntl.LOCK_EX):
            current = self._read()
            if current > number or not self._is_in_place():
                raise ClaimLost
            if progress is not None:
                os.pwrite(self._descriptor, _NOTE.pack(number, progress, boot()), 0)
            elif current < number:
                os.pwrite(self._descriptor, number.to_bytes(_SIZE, "big"), 0)

    def note(self, progress: int) -> None:
        """All bytes before ``progress`` have been written. To be called while :meth:`held`."""
        os.pwrite(self._descriptor, progress.to_bytes(_SIZE, "big"), _SIZE)

    @staticmethod
    def progress(path: str) -> tuple[int, int]:
        """The number of the last writer, and the offset behind the last byte written; zeros if that is not known."""
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
        """Remove the fence, with all locked out who have it open. For who has put it up for an upload that is over.

        It stays if there is a ``file`` behind it: then the upload has only just begun, and others write by now.
        """
        with _Lock(self._descriptor, fcntl.LOCK_EX):
            if not os.path.exists(file) and self._is_in_place():
                os.pwrite(self._descriptor, CLOSED.to_bytes(_SIZE, "big"), 0)
                os.unlink(self._path)

    def held(self, number: int) -> AbstractContextManager[None]:
        """Keep newer writers waiting for the length of a write.

        :raises ClaimLost: One has come before.
        """
        return _Lock(self._descriptor, fcntl.LOCK_EX, lambda: self.check(number))

    def shared(self, *, again: bool = False) -> AbstractContextManager[None]:
        """Keep the upload from being finished or removed for the length of a write, beside others that do the same.

        :param again: It was shared before and had not been removed then: from there on, it is closed first.
        :raises ClaimLost: That has happened.
        """
        return _Lock(self._descriptor, fcntl.LOCK_SH, self._check_open if again else self._check_in_place)

    def alone_at(self, number: int, check: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """Keep others from chunk ``number`` for the length of the block.

        :param check: Called while others are there; what it raises ends the waiting.
        :raises UploadLocked: Somebody else would not let go of it.
        """
        return _Place(chunk_lock(self._descriptor, self._path, number), check)

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
        """Whether this is still the file by that name: it goes away with its upload."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        here = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


class _Lock:
    """The whole fence, locked for the length of a block, if ``check`` lets it begin."""

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


class _Place:
    """The lock of one chunk, apart from the fence's own."""

    __slots__ = ("_check", "_lock")

    def __init__(self, lock: ChunkLock, check: Callable[[], None] | None) -> None:
        self._lock = lock
        self._check = check

    def __enter__(self) -> None:
        with translated:
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
            with translated:
                if self._lock.take():
                    return

    def __exit__(self, *error: object) -> None:
        self._lock.release()
