"""Which bytes of an upload have been received: those from the start, and chunks beyond them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """The bytes of one chunk in an upload that is cut into equal chunks. The last one may be shorter or longer."""

    number: int  # starts at 1
    start: int
    stop: int
    unit: int  # the size of all chunks but the last; 0 if there is only one

    @classmethod
    def of(cls, number: int, unit: int, count: int, length: int) -> Self:
        """Chunk ``number`` of ``count`` in an upload of ``length`` bytes; the last one has what is left."""
        start = (number - 1) * unit
        return cls(number, start, length if number == count else start + unit, unit)

    @property
    def size(self) -> int:
        """The number of bytes in the chunk."""
        return self.stop - self.start


def chunk_spans(unit: int, count: int, length: int) -> Iterator[ChunkSpan]:
    """All chunks of an upload that have bytes: a file may be empty, and some clients send an empty chunk at the end."""
    for number in range(1, count + 1):
        span = ChunkSpan.of(number, unit, count, length)
        if span.size > 0:
            yield span


@dataclass(frozen=True, slots=True)
class ByteRanges:
    """The bytes of an upload that have been received: all below ``offset``, and any chunks beyond it.

    The chunks are kept as the bits of one integer. Reading, saving and querying thousands of them in random order takes
    no longer than a few.
    """

    offset: int = 0  # the first missing byte
    unit: int = 0  # the size of a chunk in bytes; 0 if there are no chunks
    chunks: int = 0  # bit n is set if the chunk that starts at byte n * unit has been received
    end: int = 0  # the byte after the last of these chunks, which may be shorter than the others

    @classmethod
    def prefix(cls, offset: int) -> ByteRanges:
        """Return the first ``offset`` bytes."""
        return cls(offset)

    @property
    def stop(self) -> int:
        """The byte after the last one received."""
        return self.end or self.offset

    @property
    def total(self) -> int:
        """The number of bytes received."""
        cut = self.chunks.bit_length() * self.unit - self.end
        return self.offset + self.chunks.bit_count() * self.unit - cut

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The same as ``(start, stop)`` pairs, sorted, neither overlapping nor adjacent."""
        runs = re.finditer("1+", f"{self.chunks:b}"[::-1])
        islands = ((run.start() * self.unit, min(run.end() * self.unit, self.end)) for run in runs)
        return ((0, self.offset), *islands) if self.offset else tuple(islands)

    def has(self, chunk: ChunkSpan) -> bool:
        """Whether the whole chunk has been received."""
        return self.covers(chunk.start, chunk.stop)

    def covers(self, start: int, stop: int) -> bool:
        """Whether every byte from ``start`` to ``stop`` has been received. Always true for an empty range."""
        if start >= stop or stop <= self.offset:
            return True
        if start < self.offset or stop > self.end:
            return False
        first, mask = self._bits(start, stop, self.unit)
        return self.chunks >> first & mask == mask

    def add(self, start: int, stop: int, unit: int = 0) -> ByteRanges:
        """Return these ranges with the bytes from ``start`` to ``stop`` added.

        :param unit: The size of all chunks. Bytes that start at or before :attr:`offset` do not have to be chunks.
        :raises ValueError: The bytes start beyond the offset and are not whole chunks, so they cannot be represented.
        """
        if self.covers(start, stop):
            return self
        if start <= self.offset:
            return self._joined(stop, self.unit, self.chunks, self.end)
        last = max(stop, self.end)
        are_whole = unit > 0 and start % unit == 0 and not (stop % unit and stop < last)
        if not are_whole or self.unit not in (0, unit) or (self.end % unit and self.end < last):
            raise ValueError(f"Bytes {start} to {stop} are not whole chunks of {unit} bytes.")
        first, mask = self._bits(start, stop, unit)
        return ByteRanges(self.offset, unit, self.chunks | mask << first, last)

    @staticmethod
    def _bits(start: int, stop: int, unit: int) -> tuple[int, int]:
        """Return the index of the first chunk that overlaps the range, and a set bit for each chunk that does."""
        first = start // unit
        return first, (1 << -(-stop // unit) - first) - 1

    @classmethod
    def _joined(cls, offset: int, unit: int, chunks: int, end: int) -> ByteRanges:
        """Return ranges whose offset is moved past the chunks that directly follow it."""
        if offset >= end:
            return cls(offset)
        at = offset // unit
        beyond = chunks >> at
        run = (~beyond & beyond + 1).bit_length() - 1
        if run:
            offset = min((at + run) * unit, end)
        if offset == end:
            return cls(offset)
        return cls(offset, unit, beyond >> run << at + run, end)

    def missing(self, length: int) -> Iterator[tuple[int, int]]:
        """Yield the gaps below ``length`` in order."""
        at = 0
        for start, stop in self.pairs:
            if at < min(start, length):
                yield at, min(start, length)
            at = stop
        if at < length:
            yield at, length
