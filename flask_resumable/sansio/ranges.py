"""Sets of received bytes, as sorted half-open ranges."""

from __future__ import annotations

from bisect import bisect_left
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter


@dataclass(frozen=True, slots=True)
class ByteRanges:
    """Which bytes of an upload have been stored: disjoint, sorted, non-adjacent ``(start, stop)`` pairs."""

    pairs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def prefix(cls, offset: int) -> ByteRanges:
        """The first ``offset`` bytes."""
        return cls(((0, offset),)) if offset else cls()

    @property
    def offset(self) -> int:
        """Where the range that starts at 0 ends: the first byte that is missing."""
        return self.pairs[0][1] if self.pairs and self.pairs[0][0] == 0 else 0

    @property
    def total(self) -> int:
        """How many bytes are covered."""
        return sum(stop - start for start, stop in self.pairs)

    @property
    def islands(self) -> tuple[tuple[int, int], ...]:
        """The ranges that lie beyond :attr:`offset`."""
        return self.pairs[1:] if self.offset else self.pairs

    def covers(self, start: int, stop: int) -> bool:
        """Whether every byte of ``start`` to ``stop`` is here (an empty range always is)."""
        if start >= stop:
            return True
        at = bisect_left(self.pairs, (start + 1,)) - 1
        return at >= 0 and self.pairs[at][0] <= start and stop <= self.pairs[at][1]

    def add(self, start: int, stop: int) -> ByteRanges:
        """These bytes and those of ``start`` to ``stop``."""
        if start >= stop:
            return self
        first = bisect_left(self.pairs, start, key=itemgetter(1))  # of those that overlap or touch
        behind = bisect_right(self.pairs, stop, key=itemgetter(0))
        if first < behind:
            start, stop = min(start, self.pairs[first][0]), max(stop, self.pairs[behind - 1][1])
        return ByteRanges((*self.pairs[:first], (start, stop), *self.pairs[behind:]))

    def missing(self, length: int) -> Iterator[tuple[int, int]]:
        """The gaps below ``length``, in order."""
        at = 0
        for start, stop in self.pairs:
            if at < min(start, length):
                yield at, min(start, length)
            at = stop
        if at < length:
            yield at, length
