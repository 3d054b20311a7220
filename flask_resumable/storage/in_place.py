"""A chunk that is written to its place in the file while it is still coming in."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from ..errors import ClaimLost
from ..interfaces import Piped
from .fence import Fence
from .files import splice_all
from .files import translated
from .files import write_all
from .writing import sync


class ChunkInPlace:
    """See :class:`~flask_resumable.abilities.IncomingChunk`.

    What lies there counts for nothing until the record says so, so the chunk need not be whole before. But two requests
    with the same chunk must not mix: each leaves its mark beside the fence, and only the last one to do so writes on.

    :param descriptor: The file. It is closed in the end, as is ``fence``.
    :param number: The chunk's; it begins at byte ``start`` and has ``size`` bytes.
    :raises UploadLocked: Another request has been placing this very chunk for too long.
    """

    def __init__(self, descriptor: int, fence: Fence, number: int, start: int, size: int, durability: str) -> None:
        self._descriptor = descriptor
        self._fence = fence
        self._number = number
        self._position = start
        self._stop = start + size
        self._durability = durability
        self._mark = secrets.token_bytes(8)
        with translated(), fence.alone_at(number):
            self.is_first = fence.mark(number, self._mark)

    def write(self, block: bytes | memoryview, /) -> None:
        # What passes the end would lie in the next chunk, which may be stored already.
        view = memoryview(block)[: self._stop - self._position]
        with self._turn():
            self._position += write_all(self._descriptor, view, self._position)

    def write_piped(self, block: Piped, /) -> None:
        if block.size > self._stop - self._position:
            raise ValueError("This is more than was announced.")
        with self._turn():
            splice_all(block.descriptor, block.size, self._descriptor, self._position)
        self._position += block.size

    @contextmanager
    def settling(self) -> Iterator[Self]:
        with self._turn():
            sync(self._descriptor, self._durability)
            yield self

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """With everybody else kept from this chunk's place.

        :raises ClaimLost: A later request is putting the chunk there, or the upload has been finished or removed.
        """
        with translated(), self._fence.alone_at(self._number), self._fence.shared():
            if self._fence.marked(self._number) != self._mark:
                raise ClaimLost
            yield

    def close(self) -> None:
        os.close(self._descriptor)
        self._fence.close()
