"""Reads several objects as one stream, without fetching all of them."""

from __future__ import annotations

import io
import mmap
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO
from typing import cast

from ...errors import Unavailable
from .buffer import fresh_memory
from .errors import Missing
from .store import ObjectStore

_FIRST_BLOCK = 256 * 1024  # bytes to fetch after a seek: a video player may need only a few
_LAST_BLOCK = 4 * 1024 * 1024  # the maximum; each fetch without a seek doubles the size
_BUFFER = 64 * 1024


class ObjectStream(io.RawIOBase):
    """Several objects as one stream, which keeps one block in memory.

    :param objects: Their keys and sizes.
    """

    def __init__(self, store: ObjectStore, objects: Sequence[tuple[str, int]]) -> None:
        self._store = store
        self._keys = [key for key, _ in objects]
        self._starts = [0, *accumulate(size for _, size in objects)]
        self._at = 0
        self._block: bytes | mmap.mmap = b""
        self._block_start = 0
        self._block_size = _FIRST_BLOCK

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        at = self._at - self._block_start
        if not 0 <= at < len(self._block):
            self._fetch(len(target))
            at = 0
        piece = self._block[at : at + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _fetch(self, wanted: int) -> None:
        """Fetch the block at the current position."""
        is_next = self._block and self._at == self._block_start + len(self._block)
        self._block_size = min(2 * self._block_size, _LAST_BLOCK) if is_next else _FIRST_BLOCK
        self._block, self._block_start = b"", self._at
        if self._at >= self._starts[-1]:
            return
        index = bisect_right(self._starts, self._at) - 1
        start = self._at - self._starts[index]
        stop = min(start + max(self._block_size, wanted), self._starts[index + 1] - self._starts[index])
        try:
            self._block = _fetched(self._store, self._keys[index], start, stop)
        except Missing:
            raise Unavailable("The bytes of this upload are missing.") from None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _fetched(store: ObjectStore, key: str, start: int, stop: int) -> mmap.mmap:
    block = fresh_memory(stop - start)
    store.get_into(key, start, stop, block.write)
    return block


def stream_of(store: ObjectStore, objects: Sequence[tuple[str, int]]) -> BinaryIO:
    """Return a buffered stream of objects, given their keys and sizes."""
    present = [(key, size) for key, size in objects if size]
    return cast(BinaryIO, io.BufferedReader(ObjectStream(store, present), _BUFFER))
