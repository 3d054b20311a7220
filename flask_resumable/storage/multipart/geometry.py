"""How an upload is cut into the parts that object stores take: where each begins, and how many bytes it has.

A part is known by its number, from 1 on, and a number always stands for the same bytes. The limits are those of S3,
which every store meets; what else a store asks for is in its traits.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ...core.ranges import ChunkSpan

MIB = 1024 * 1024
MIN_PART = 5 * MIB  # all but the last part of an object have as much
MAX_PARTS = 10_000
MAX_OBJECT = 5 * 1024 * 1024 * MIB

_FEW_PARTS = 2_000  # as many are aimed at while parts are small
_SMALL_PART = 64 * MIB
_GROUP = 64  # parts of one size, where parts grow
_STEP = 8 * MIB  # by which they grow
_MAX_COPY = 512 * MIB  # copied within the store at a time


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the parts of one upload are: all of one size, or growing by ``step`` after every 64 parts."""

    first: int
    step: int = 0

    @classmethod
    def fitting(cls, length: int | None, part_size: int, *, grows: bool = True) -> Self:
        """The one for an upload of ``length`` bytes, if that is known, with parts of ``part_size`` if they suffice.

        :param grows: Whether parts may grow while the length is unknown; if not, 10,000 of ``part_size`` are the limit.
        """
        if length is None:
            return cls(part_size, _STEP if grows else 0)
        wanted = max(min(_SMALL_PART, -(-length // _FEW_PARTS)), -(-length // MAX_PARTS))
        return cls(part_size if wanted <= part_size else -(-wanted // MIB) * MIB)

    def start(self, number: int) -> int:
        """The first byte of a part."""
        groups, rest = divmod(number - 1, _GROUP)
        in_groups = _GROUP * (groups * self.first + self.step * groups * (groups - 1) // 2)
        return in_groups + rest * (self.first + groups * self.step)

    def stop(self, number: int, length: int | None = None) -> int:
        """The first byte after a part. The last part ends with the upload."""
        stop = self.start(number + 1)
        return stop if length is None else min(stop, length)


@dataclass(frozen=True, slots=True)
class Span:
    """Some bytes of one of several sources, which is known by its index."""

    source: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


Piece = tuple[Span, ...]  # what one part is made of


def size_of(piece: Piece) -> int:
    """The bytes of a part."""
    return sum(span.size for span in piece)


def are_equal(sizes: Sequence[int]) -> bool:
    """Whether parts of these sizes suit every store: all but the last have one size, and the last has no more."""
    return all(size == sizes[0] for size in sizes[:-1]) and (not sizes or sizes[-1] <= sizes[0])


def join(
    sizes: Sequence[int], part_size: int, minimum: int = MIN_PART, *, equal: bool = False, copies: bool = True
) -> list[Piece]:
    """How to make one object of sources with these sizes, in order.

    If all but the last are large enough to be parts, each part is of one source, so that the store can copy it.
    Otherwise all parts have one size, and those that several sources have a share in must be put together.

    :param equal: The store takes only parts for which :func:`are_equal` holds.
    :param copies: The store can copy a part. If not, it all goes through memory, and no part is larger than need be.
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
    """Number, start and stop of the parts that a chunk is put into: one, or two for a last chunk that is longer.

    Some stores want no part to be larger than the first.
    """
    if chunk.number == 1 or chunk.size <= chunk.unit:
        return [(chunk.number, chunk.start, chunk.stop)]
    end = chunk.start + chunk.unit
    return [(chunk.number, chunk.start, end), (chunk.number + 1, end, chunk.stop)]
