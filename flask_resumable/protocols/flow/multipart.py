"""Multipart bodies as a stream: where parts begin, their heads, their bytes. Pieces may end anywhere.

Spec: RFC 2046 section 5.1.1, with the line ends that HTTP prescribes.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass

MAX_HEAD = 16 * 1024  # bytes of one part's headers; a preamble may have as much
_AFTER_DELIMITER = re.compile(rb"[ \t]{0,64}(--|\r\n)")
_BEGIN_OF_THAT = re.compile(rb"[ \t]{0,64}[-\r]?\Z")


class MalformedMultipart(ValueError):
    """This is no multipart body."""


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part, by its headers as they came; bytes follow until the next part begins, or the body ends."""

    head: bytes


PartEvent = PartBegins | memoryview


class MultipartParser:
    """Takes a body piece by piece, and keeps no more of it than a delimiter or a head."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._rest = b"\r\n"  # the first delimiter may be at the very start, where it has no line end before it
        self._preamble: int | None = 0  # bytes; None: the first delimiter has come
        self._is_in_head = False
        self.has_ended = False  # the closing delimiter was seen; whatever follows means nothing

    @property
    def closing_sizes(self) -> tuple[int, int]:
        """How many bytes behind the last part's content there are, with and without a line end behind them."""
        size = len(self._delimiter) + len(b"--\r\n")
        return size, size - 2

    @property
    def is_in_content(self) -> bool:
        """Whether what comes next belongs to a part, as far as can be told: it is no head, and not behind the end."""
        return not self._is_in_head

    @property
    def held(self) -> int:
        """How many bytes were fed that may be content, or the begin of a delimiter."""
        return len(self._rest)

    def take_held(self) -> bytes:
        """These bytes, which are certain to be content: the caller knows how long it is."""
        rest, self._rest = self._rest, b""
        return rest

    def feed(self, piece: bytes | memoryview) -> Generator[PartEvent, None, None]:
        """The next piece of the body.

        :raises MalformedMultipart: Something before the first part, or the headers of one, has no end.
        """
        data = b"".join((self._rest, piece))
        at: int | None = 0
        while at is not None and not self.has_ended:
            at = (yield from self._head(data, at)) if self._is_in_head else (yield from self._content(data, at))

    def _head(self, data: bytes, at: int) -> Generator[PartEvent, None, int | None]:
        """From the line end behind a delimiter to the blank line. Returns where to go on; ``None``: with more data."""
        end = data.find(b"\r\n\r\n", at)
        if (len(data) if end < 0 else end) - at > MAX_HEAD:
            raise MalformedMultipart("The headers of a part have no end.")
        if end < 0:
            self._rest = data[at:]
            return None
        self._is_in_head = False
        yield PartBegins(data[at + 2 : end])
        return end + 4

    def _content(self, data: bytes, at: int) -> Generator[PartEvent, None, int | None]:
        """Up to the next delimiter, and behind it."""
        found = data.find(self._delimiter, at)
        if found < 0:
            stop = max(at, len(data) - len(self._delimiter) + 1)  # a delimiter may begin behind that
            yield from self._bytes(data, at, stop)
            self._rest = data[stop:]
            return None
        behind = found + len(self._delimiter)
        after = _AFTER_DELIMITER.match(data, behind)
        if after is None:
            if _BEGIN_OF_THAT.match(data, behind):
                yield from self._bytes(data, at, found)
                self._rest = data[found:]
                return None
            yield from self._bytes(data, at, found + 2)  # it only looked like one
            return found + 2
        yield from self._bytes(data, at, found)
        self._preamble = None
        self.has_ended = after[1] == b"--"
        self._is_in_head = True
        return after.start(1)

    def _bytes(self, data: bytes, start: int, stop: int) -> Generator[PartEvent, None, None]:
        if self._preamble is not None:
            self._preamble += stop - start
            if self._preamble > MAX_HEAD:
                raise MalformedMultipart("The first part does not begin.")
        elif stop > start:
            yield memoryview(data)[start:stop]
