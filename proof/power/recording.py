"""What a disk was told, and what it may hold after a loss of power.

A drive keeps what was written before its last flush. Of what was written since, it keeps any subset, because it writes
in any order. A block of 4096 bytes is written as a whole or not at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

BLOCK = 4096  # bytes
_HEAD = struct.Struct("<cQI")
_ZEROS = bytes(BLOCK)
SHARES = (0.15, 0.5, 0.85)  # of the blocks since the last flush that a random image keeps


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes written at an offset."""

    offset: int
    data: bytes

    def pieces(self) -> Iterator[Write]:
        """Yield what is written as a whole: nothing of it crosses the boundary of a block."""
        start, stop = self.offset, self.offset + len(self.data)
        while start < stop:
            end = min(stop, (start // BLOCK + 1) * BLOCK)
            yield Write(start, self.data[start - self.offset : end - self.offset])
            start = end


@dataclass(frozen=True)
class Image:
    """What a disk may hold after a loss of power.

    :param name: Names it within its recording, such as ``17-p3``: after flush 17, the first three writes.
    :param durable: How many operations were flushed, and are there in full.
    :param kept: What else is there, in this order.
    :param moment: The number of operations before which a response must have been got to count.
    """

    name: str
    durable: int
    kept: tuple[Write, ...]
    moment: int


class Recording:
    """The operations of a disk, in order. ``None`` is a flush."""

    def __init__(self, size: int, operations: Sequence[Write | None], start: int) -> None:
        self.size = size
        self.operations = operations
        self.start = start  # the number of operations that prepared the disk; no power is lost during these

    @classmethod
    def read(cls, log: Path, size: int, start: int) -> Recording:
        """Read the log of ``recorder.py``: ``W`` or ``F``, an offset and a length, then the data."""
        operations: list[Write | None] = []
        content = log.read_bytes()
        position = 0
        while position < len(content):
            kind, offset, length = _HEAD.unpack_from(content, position)
            position += _HEAD.size
            operations.append(Write(offset, content[position : position + length]) if kind == b"W" else None)
            position += length
        return cls(size, operations, start)

    @property
    def flushes(self) -> int:
        """The number of flushes while power may be lost."""
        return sum(operation is None for operation in self.operations[self.start :])

    @property
    def writes(self) -> int:
        """The number of writes while power may be lost."""
        return sum(operation is not None for operation in self.operations[self.start :])

    def images(self, seed: int, subsets: int) -> Iterator[Image]:
        """Yield every image to try, ordered by what is durable.

        :param subsets: How many random subsets to try after each flush, besides all prefixes.
        """
        begin = self.start
        for number, operation in enumerate([*self.operations[self.start :], None]):
            if operation is None:
                end = self.start + number
                yield from self._between(begin, end, Random(f"{seed} {begin}"), subsets)
                begin = end + 1

    def _between(self, begin: int, end: int, random: Random, subsets: int) -> Iterator[Image]:
        """Yield the images of one time between two flushes."""
        writes = [write for write in self.operations[begin:end] if write is not None]
        yield Image(f"{begin}-none", begin, (), end)
        for kept in range(1, len(writes) + 1):
            yield Image(f"{begin}-p{kept}", begin, tuple(writes[:kept]), begin + kept)
        pieces = [piece for write in writes for piece in write.pieces()]
        seen = {(), tuple(range(len(pieces)))}
        for number in range(subsets if len(pieces) > 1 else 0):
            if number % 2:
                share = random.choice(SHARES)
                chosen = tuple(index for index in range(len(pieces)) if random.random() < share)
            else:
                lost = random.randrange(len(pieces))
                chosen = tuple(index for index in range(len(pieces)) if index != lost)
            if chosen not in seen:
                seen.add(chosen)
                yield Image(f"{begin}-s{number}", begin, tuple(pieces[index] for index in chosen), end)


class Disk:
    """Writes images to files, as far as they are not zeros. This is faster for images in order."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._content = bytearray(recording.size)
        self._done = 0
        self._used: set[int] = set()

    def make(self, image: Image, file: Path) -> None:
        """Write an image to a file, which is replaced."""
        if image.durable < self._done:
            self._content, self._used, self._done = bytearray(self._recording.size), set(), 0
        for operation in self._recording.operations[self._done : image.durable]:
            if operation is not None:
                self._put(operation)
        self._done = image.durable
        file.unlink(missing_ok=True)
        with file.open("xb", buffering=0) as target:
            target.truncate(self._recording.size)
            for first, last in _runs(sorted(self._used)):
                target.seek(first * BLOCK)
                target.write(memoryview(self._content)[first * BLOCK : last * BLOCK])
            for write in image.kept:
                target.seek(write.offset)
                target.write(write.data)

    def _put(self, write: Write) -> None:
        self._content[write.offset : write.offset + len(write.data)] = write.data
        for block in range(write.offset // BLOCK, -(-(write.offset + len(write.data)) // BLOCK)):
            if self._content[block * BLOCK : (block + 1) * BLOCK] != _ZEROS:
                self._used.add(block)


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first of consecutive numbers, and the one after the last."""
    first = last = None
    for number in numbers:
        if number != last:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number + 1
    if first is not None and last is not None:
        yield first, last
