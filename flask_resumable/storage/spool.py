"""Spools a chunk: in memory while it is small, then in a file without a name."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import BinaryIO
from typing import cast

from .file_io import file_errors

SPOOL_SIZE = 2 * 1024 * 1024  # bytes of a chunk kept in memory: a whole one of flow.js's default size


class Spool(io.RawIOBase):
    """Written once, then read from the start in the same blocks, which are not copied.

    :param directory: Where the file is made, and the folder too, should there be need for one.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = directory
        self._blocks: list[memoryview] = []
        self._size = 0
        self._at = 0  # the next block to read, while everything is in memory
        self._file: BinaryIO | None = None

    def write(self, block: bytes | memoryview) -> int:  # type: ignore[override]
        """Append. The block must not change afterwards.

        :raises StorageFull: There is no room for the file.
        :raises Unavailable: It cannot be made, or written to.
        """
        self._size += len(block)
        self._blocks.append(memoryview(block))
        if self._size > SPOOL_SIZE:
            with file_errors:
                self._spill()
        return len(block)

    def _spill(self) -> None:
        """Put what is in memory into the file."""
        if self._file is None:
            os.makedirs(self._directory, exist_ok=True)
            self._file = cast(BinaryIO, tempfile.TemporaryFile(dir=self._directory, buffering=0))
        for block in self._blocks:
            while block:
                block = block[self._file.write(block) :]
        self._blocks = []

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, counted from the start."""
        assert whence == io.SEEK_SET
        if self._file is not None:
            return self._file.seek(offset)
        self._at = at = 0
        while at < offset and (block := self.read(offset - at)):
            at += len(block)
        return at

    def tell(self) -> int:
        """Return the position, counted from the start."""
        return sum(map(len, self._blocks[: self._at])) if self._file is None else self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` of the next bytes, or nothing at the end."""
        if self._file is not None:
            return self._file.read(size)
        if self._at == len(self._blocks) or size == 0:  # size 0 must not insert an empty block
            return b""
        block = self._blocks[self._at]
        if 0 <= size < len(block):
            self._blocks[self._at : self._at + 1] = [block[:size], block[size:]]
            block = block[:size]
        self._at += 1
        return cast(bytes, block)  # its readers can use a memoryview as well

    def close(self) -> None:
        """Free the memory, or remove the file."""
        self._blocks = []
        if self._file is not None:
            self._file.close()
        super().close()
