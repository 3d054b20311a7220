"""How uploads are divided into parts: where each part begins, and how many bytes it has.

Parts are numbered from 1, and a number always means the same bytes. The limits are those of S3, which apply to every
store. Other requirements of a store are in its traits.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ...core.ranges import ChunkSpan

MIB = 1024 * 1024
MIN_PART = 5 * MIB  # bytes; the minimum for all parts of an object but the last
MAX_PARTS = 10_000
MAX_OBJECT = 5 * 1024 * 1024 * MIB

_FEW_PARTS = 2_000  # the number of parts to aim at while parts are small
_SMALL_PART = 64 * MIB
_GROUP = 64  # parts of the same size, if parts grow
_STEP = 8 * MIB  # bytes by which they grow
_MAX_COPY = 512 * MIB  # bytes to copy within the store at a time


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of an upload's parts: all equal, or growing by ``step`` bytes after every 64 parts."""

    first: int
    step: int = 0

    @classmethod
    def fitting(cls, length: int | None, part_size: int, *, grows: bool = True) -> Self:
        """Return the geometry for an upload of ``length`` bytes. Parts have ``part_size`` bytes if that is enough.

        :param grows: Whether parts grow if the length is unknown. If not, 10,000 parts of ``part_size`` are the limit.
        """
        if length is None:
            return cls(part_size, _STEP if grows else 0)
        wanted = max(min(_SMALL_PART, -(-length // _FEW_PARTS)), -(-length // MAX_PARTS))
        return cls(part_size if wanted <= part_size else -(-wanted // MIB) * MIB)

    def start(self, number: int) -> int:
        """Return the position of a part's first byte."""
        groups, rest = divmod(number - 1, _GROUP)
        in_groups = _GROUP * (groups * self.first + self.step * groups * (groups - 1) // 2)
        return in_groups + rest * (self.first + groups * self.step)

    def stop(self, number: int, length: int | None = None) -> int:
        """Return the position after a part's last byte. The last part ends with the upload."""
        stop = self.start(number + 1)
        return stop if length is None else min(stop, length)


@dataclass(frozen=True, slots=True)
class Span:
    """A range of bytes of one of several sources. ``source`` is its index."""

    source: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


Piece = tuple[Span, ...]  # what a part is made from


def size_of(piece: Piece) -> int:
    """Return the size of a part in bytes."""
    return sum(span.size for span in piece)


def are_equal(sizes: Sequence[int]) -> bool:
    """Whether every store accepts parts of these sizes: they are equal, but the last one may be smaller."""
    return all(size == sizes[0] for size in sizes[:-1]) and (not sizes or sizes[-1] <= sizes[0])


def join(
    sizes: Sequence[int], part_size: int, minimum: int = MIN_PART, *, equal: bool = False, copies: bool = True
) -> list[Piece]:
    """Return how to make one object from sources of these sizes, in order.

    If all but the last source are large enough to be parts, each part comes from one source, so that the store can copy
    it. Otherwise all parts have the same size, and this process makes those that span several sources.

    :param equal: Whether the store requires parts for which :func:`are_equal` is true.
    :param copies: Whether the store can copy parts. If not, parts go through memory and are as small as possible.
    """
    sources = [(index, size) for index, size in enumerate(sizes) if size]
    if copies and all(size >= minimum for _, size in sources[:-1]):
        pieces = list(_by_source(sources, max(_MAX_COPY, -(-2 * sum(sizes) // MAX_PARTS))))
        if len(pieces) <= MAX_PARTS and (not equal or are_equal([size_of(piece) for piece in pieces])):
            return pieces
    return list(_by_part(sources, Geometry.fitting(sum(sizes), part_size).first))


def _by_source(sources: Sequence[tuple[int, int]], limit: int) -> Iterator[Piece]:
    for index, size in sources:
        step = -(-size // -(-size // limit))
        for start in range(0, size, step):
            yield (Span(index, start, min(size, start + step)),)


def _by_part(sources: Sequence[tuple[int, int]], part_size: int) -> Iterator[Piece]:
    piece: list[Span] = []
    room = part_size
    for index, size in sources:
        start = 0
        while start < size:
            span = Span(index, start, min(size, start + room))
            piece.append(span)
            start, room = span.stop, room - span.size
            if not room:
                yield tuple(piece)
                piece, room = [], part_size
    if piece:
        yield tuple(piece)


def parts_of_chunk(chunk: ChunkSpan) -> list[tuple[int, int, int]]:
    """Return number, start and stop of a chunk's parts. There are two if it is the last chunk and longer than others.

    Some stores do not allow a part that is larger than the first one.
    """
    if chunk.number == 1 or chunk.size <= chunk.unit:
        return [(chunk.number, chunk.start, chunk.stop)]
    end = chunk.start + chunk.unit
    return [(chunk.number, chunk.start, end), (chunk.number + 1, end, chunk.stop)]
