"""Writes a chunk to its place in the file while it arrives."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from ...errors import ClaimLost
from ...interfaces import Piped
from ..file_io import file_errors
from ..file_io import write_all
from .fence import Fence
from .files import splice_all
from .writer import sync


class ChunkInPlace:
    """Implements :class:`~flask_resumable.interfaces.chunks.IncomingChunk`.

    Bytes in that place do not count until the record says so, so the chunk can be written before it is complete. But
    two requests with the same chunk must not mix. Each leaves a mark next to the fence, and only the latest continues.

    :param file: The name of the file.
    :param open_file: Opens the file or creates it. Called only when there is something to write, so that no file is
        created again for an upload that was just finished or removed.
    :param fence: Closed at the end, like the file.
    :param number: The number of the chunk, which starts at byte ``start`` and has ``size`` bytes.
    :raises UploadLocked: Another request has been writing the same chunk for too long.
    """

    def __init__(
        self,
        file: str,
        open_file: Callable[[], int],
        fence: Fence,
        number: int,
        start: int,
        size: int,
        durability: str,
    ) -> None:
        self._file = file
        self._open_file = open_file
        self._descriptor: int | None = None
        self._fence = fence
        self._number = number
        self._position = start
        self._stop = start + size
        self._durability = durability
        self._mark = secrets.token_bytes(8)
        # With the check, this does not wait for a request that has taken over and is writing the whole chunk.
        self._alone = fence.alone_at(number, self._check)
        self._beside_others = fence.shared()
        with file_errors, fence.alone_at(number):
            self.is_first = fence.mark(number, self._mark) and not fence.is_new

    def write(self, block: bytes | memoryview, /) -> None:
        # Bytes beyond the end would overwrite the next chunk, which may have been stored already.
        view = memoryview(block)[: self._stop - self._position]
        with file_errors, self._alone, self._beside_others:
            self._position += write_all(self._opened(), view, self._position)

    def write_piped(self, block: Piped, /) -> None:
        if block.size > self._stop - self._position:
            raise ValueError("This block exceeds the chunk.")
        with file_errors, self._alone, self._beside_others:
            splice_all(block.descriptor, block.size, self._opened(), self._position)
        self._position += block.size

    @contextmanager
    def settling(self) -> Iterator[Self]:
        with self._fence.alone_at(self._number):
            with file_errors, self._beside_others:
                sync(self._opened(), self._durability)
            # From here on, other requests may finish or remove the upload. The shared lock is released, because waiting
            # for it in the kernel would block all greenlets of a worker, including the one that saves the record.
            yield self

    def _opened(self) -> int:
        """The file. To be called while everybody else is kept from this chunk's place, and the upload from its end.

        :raises ClaimLost: A later request is putting the chunk there.
        """
        self._check()
        if self._descriptor is None:
            self._descriptor = self._open_file()
            self._beside_others = self._fence.shared(again=True)
        return self._descriptor

    def _check(self) -> None:
        if self._fence.marked(self._number) != self._mark:
            raise ClaimLost

    def withdraw(self) -> None:
        try:
            if self._fence.is_new:
                with file_errors:
                    self._fence.take_down(self._file)
        finally:
            self.close()

    def close(self) -> None:
        try:
            if self._descriptor is not None:
                os.close(self._descriptor)
        finally:
            self._fence.close()
