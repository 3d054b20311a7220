"""A chunk that is written to its place in the file while it is still coming in."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from ...errors import ClaimLost
from ...interfaces import Piped
from ..file_io import translated
from ..file_io import write_all
from .fence import Fence
from .files import splice_all
from .writer import sync


class ChunkInPlace:
    """See :class:`~flask_resumable.interfaces.chunks.IncomingChunk`.

    What lies there counts for nothing until the record says so, so the chunk need not be whole before. But two requests
    with the same chunk must not mix: each leaves its mark beside the fence, and only the last one to do so writes on.

    :param file: The file's name.
    :param open_file: Opens it, or makes it. Not called before there is something to write: of an upload that was
        finished or removed a moment ago, nothing must be made again.
    :param fence: It is closed in the end, as is the file.
    :param number: The chunk's; it begins at byte ``start`` and has ``size`` bytes.
    :raises UploadLocked: Another request has been placing this very chunk for too long.
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
        # Not to wait for one who has taken over and is placing the whole chunk.
        self._alone = fence.alone_at(number, self._check)
        self._beside_others = fence.shared()
        with translated, fence.alone_at(number):
            self.is_first = fence.mark(number, self._mark) and not fence.is_new

    def write(self, block: bytes | memoryview, /) -> None:
        # What passes the end would lie in the next chunk, which may be stored already.
        view = memoryview(block)[: self._stop - self._position]
        with translated, self._alone, self._beside_others:
            self._position += write_all(self._opened(), view, self._position)

    def write_piped(self, block: Piped, /) -> None:
        if block.size > self._stop - self._position:
            raise ValueError("This is more than was announced.")
        with translated, self._alone, self._beside_others:
            splice_all(block.descriptor, block.size, self._opened(), self._position)
        self._position += block.size

    @contextmanager
    def settling(self) -> Iterator[Self]:
        with self._fence.alone_at(self._number):
            with translated, self._beside_others:
                sync(self._opened(), self._durability)
            # Others may finish or remove the upload from here on. Whoever waited for that in the kernel would stop all
            # greenlets of this worker, and with them the one that is to save the record.
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
                with translated:
                    self._fence.take_down(self._file)
        finally:
            self.close()

    def close(self) -> None:
        try:
            if self._descriptor is not None:
                os.close(self._descriptor)
        finally:
            self._fence.close()
