"""Buffers for parts that are being sent: in memory if there is enough, otherwise in files without names."""

from __future__ import annotations

import io
import mmap
import os
import tempfile
import threading
from contextlib import suppress
from typing import BinaryIO

from ..file_io import file_errors
from ..file_io import write_all

_STEP = 1024 * 1024  # bytes to read back at a time


class Cancelled(BaseException):
    """The content is no longer needed. This is not an ``Exception``, or the store's client would try again."""


class Memory:
    """The memory that all buffers of a process share."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take ``size`` bytes if that many are free, and return whether they were."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Return ``size`` bytes."""
        with self._lock:
            self._left += size


def fresh_memory(size: int) -> mmap.mmap:
    """Return ``size`` bytes of memory that go back to the system when nobody refers to them any more.

    The C library keeps what large blocks have used, for each of up to eight times as many threads as there are
    processors. Private, because a process that forks must not share what it writes.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # fewer page faults: a fifth of the kernel's work
        with suppress(OSError):  # not known to this kernel
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


class Buffer:
    """Bytes that one thread appends and another thread reads afterwards.

    :param size: The maximum number of bytes.
    :param directory: The folder for a temporary file.
    """

    def __init__(self, size: int, memory: Memory, directory: str | None) -> None:
        self.size = 0
        self._memory = memory
        self._taken = size if memory.take(size) else 0
        self._block = fresh_memory(self._taken) if self._taken else None
        with file_errors:
            self._file = None if self._taken else tempfile.TemporaryFile(dir=directory, buffering=0)

    def write(self, block: bytes | memoryview) -> None:
        """Append a block."""
        if self._block is not None:
            self._block[self.size : self.size + len(block)] = block
        elif self._file is not None:
            with file_errors:
                write_all(self._file.fileno(), block, self.size)
        self.size += len(block)

    def read(self, start: int, size: int) -> bytes | memoryview:
        """Return at most ``size`` bytes from ``start``."""
        size = min(size, self.size - start)
        if self._file is not None:
            return os.pread(self._file.fileno(), size, start)
        return memoryview(self._block or b"")[start : start + size]

    def append_to(self, other: Buffer, start: int = 0) -> None:
        """Append everything from ``start`` to another buffer."""
        while start < self.size:
            block = self.read(start, _STEP)
            other.write(block)
            start += len(block)

    def close(self) -> None:
        """Free its memory, or remove its file."""
        if self._file is not None:
            self._file.close()
        self._memory.give_back(self._taken)
        self._taken, self._block = 0, None


class Content(io.RawIOBase):
    """The content of a buffer as a :class:`~.store.SizedStream`.

    :param cancelled: Reading raises :exc:`Cancelled` once this is set.
    """

    def __init__(self, buffer: Buffer, start: int = 0, cancelled: threading.Event | None = None) -> None:
        self._buffer = buffer
        self._start = start
        self._at = start
        self._cancelled = cancelled

    def __len__(self) -> int:
        return self._buffer.size - self._start

    def tell(self) -> int:
        return self._at - self._start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: len(self)}[whence]
        self._at = self._start + base + offset
        return self.tell()

    def read(self, size: int = -1) -> bytes:
        if self._cancelled is not None and self._cancelled.is_set():
            raise Cancelled
        block = self._buffer.read(self._at, self._buffer.size if size < 0 else size)
        self._at += len(block)
        return block  # type: ignore[return-value]  # clients only do what a memoryview can do, too

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


class StreamSlice(io.RawIOBase):
    """``size`` bytes of a stream from ``start``, as a :class:`~.store.SizedStream`."""

    def __init__(self, stream: BinaryIO, size: int, start: int = 0) -> None:
        self._stream = stream
        self._size = size
        self._start = start
        self._at = 0
        stream.seek(start)

    def __len__(self) -> int:
        return self._size

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to the start or to the end. Clients do this to find the length."""
        if (offset, whence) == (0, io.SEEK_SET):
            self._stream.seek(self._start)
            self._at = 0
        elif (offset, whence) == (0, io.SEEK_END):
            self._at = self._size
        else:
            assert (offset, whence) == (self._at, io.SEEK_SET)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._at
        block = self._stream.read(left if size < 0 else min(size, left))
        self._at += len(block)
        return block

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
