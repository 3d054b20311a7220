"""What has been received of an upload: a beginning, and chunks beyond it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """Where one chunk lies in an upload that is cut into equal ones. Bytes; the last chunk may be shorter or longer."""

    number: int  # from 1
    start: int
    stop: int
    unit: int  # what all but the last have; 0 if there is only one

    @classmethod
    def of(cls, number: int, unit: int, count: int, length: int) -> Self:
        """Chunk ``number`` of ``count`` in an upload of ``length`` bytes; the last one has what is left."""
        start = (number - 1) * unit
        return cls(number, start, length if number == count else start + unit, unit)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.stop - self.start


def chunk_spans(unit: int, count: int, length: int) -> Iterator[ChunkSpan]:
    """All chunks of an upload that have bytes: a file may be empty, and some clients send an empty chunk at the end."""
    for number in range(1, count + 1):
        span = ChunkSpan.of(number, unit, count, length)
        if span.size > 0:
            yield span


@dataclass(frozen=True, slots=True)
class ByteRanges:
    """Which bytes of an upload are here: all below ``offset``, and any chunks beyond it.

    The chunks are the bits of one number: thousands of them in no order take no longer to read, to save and to ask for
    than a few.
    """

    offset: int = 0  # the first byte that is missing
    unit: int = 0  # bytes in a chunk; 0 if none is here
    chunks: int = 0  # bit n: from byte n * unit on there is a chunk
    end: int = 0  # the byte behind the last of them, which may be cut short

    @classmethod
    def prefix(cls, offset: int) -> ByteRanges:
        """The first ``offset`` bytes."""
        return cls(offset)

    @property
    def stop(self) -> int:
        """The byte behind the last one that is here."""
        return self.end or self.offset

    @property
    def total(self) -> int:
        """How many bytes are here."""
        cut = self.chunks.bit_length() * self.unit - self.end
        return self.offset + self.chunks.bit_count() * self.unit - cut

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The same as ``(start, stop)`` pairs: disjoint, sorted, not touching."""
        runs = re.finditer("1+", f"{self.chunks:b}"[::-1])
        islands = ((run.start() * self.unit, min(run.end() * self.unit, self.end)) for run in runs)
        return ((0, self.offset), *islands) if self.offset else tuple(islands)

    def has(self, chunk: ChunkSpan) -> bool:
        """Whether a chunk is here."""
        return self.covers(chunk.start, chunk.stop)

    def covers(self, start: int, stop: int) -> bool:
        """Whether every byte of ``start`` to ``stop`` is here (an empty range always is)."""
        if start >= stop or stop <= self.offset:
            return True
        if start < self.offset or stop > self.end:
            return False
        first, mask = self._bits(start, stop, self.unit)
        return self.chunks >> first & mask == mask

    def add(self, start: int, stop: int, unit: int = 0) -> ByteRanges:
        """These bytes and those of ``start`` to ``stop``.

        :param unit: How large all chunks are. Bytes that follow on :attr:`offset` need not be chunks.
        :raises ValueError: They lie beyond the offset and are no whole chunks: they could not be remembered.
        """
        if self.covers(start, stop):
            return self
        if start <= self.offset:
            return self._joined(stop, self.unit, self.chunks, self.end)
        last = max(stop, self.end)
        are_whole = unit > 0 and start % unit == 0 and not (stop % unit and stop < last)
        if not are_whole or self.unit not in (0, unit) or (self.end % unit and self.end < last):
            raise ValueError(f"From {start} to {stop} there are no whole chunks of {unit} bytes.")
        first, mask = self._bits(start, stop, unit)
        return ByteRanges(self.offset, unit, self.chunks | mask << first, last)

    @staticmethod
    def _bits(start: int, stop: int, unit: int) -> tuple[int, int]:
        """The first chunk with any of these bytes, and as many bits as there are such chunks."""
        first = start // unit
        return first, (1 << -(-stop // unit) - first) - 1

    @classmethod
    def _joined(cls, offset: int, unit: int, chunks: int, end: int) -> ByteRanges:
        """With those chunks that touch the beginning as a part of it."""
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
        """The gaps below ``length``, in order."""
        at = 0
        for start, stop in self.pairs:
            if at < min(start, length):
                yield at, min(start, length)
            at = stop
        if at < length:
            yield at, length
