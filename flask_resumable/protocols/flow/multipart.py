"""Multipart bodies as a stream: where parts begin, their heads, their bytes. Pieces may end anywhere.

Spec: RFC 2046 section 5.1.1, with the line ends that HTTP prescribes.
"""

from __future__ import annotations

import re
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

    def feed(self, piece: bytes | memoryview) -> list[PartEvent]:
        """What the next piece of the body brings; content that was found is not copied.

        :raises MalformedMultipart: Something before the first part, or the headers of one, has no end.
        """
        data = b"".join((self._rest, piece))
        events: list[PartEvent] = []
        at: int | None = 0
        while at is not None and not self.has_ended:
            if self._is_in_head:  # which begins with the line end after a delimiter, and ends with a blank line
                end = data.find(b"\r\n\r\n", at)
                if (len(data) if end < 0 else end) - at > MAX_HEAD:
                    raise MalformedMultipart("The headers of a part have no end.")
                if end < 0:
                    self._rest = data[at:]
                    break
                events.append(PartBegins(data[at + 2 : end]))
                self._is_in_head = False
                at = end + 4
            at = self._content(data, at, events)
        return events

    def _content(self, data: bytes, at: int, events: list[PartEvent]) -> int | None:
        """Up to the next delimiter, and past it. Returns where to go on; ``None``: with more data."""
        found = data.find(self._delimiter, at)
        behind = found + len(self._delimiter)
        after = None if found < 0 else _AFTER_DELIMITER.match(data, behind)
        go_on: int | None = None
        if after is not None:
            stop, go_on = found, after.start(1)
        elif found < 0:
            stop = max(at, len(data) - len(self._delimiter) + 1)  # a delimiter may begin there
        elif _BEGIN_OF_THAT.match(data, behind):
            stop = found
        else:
            stop = go_on = found + 2  # it only looked like one
        if self._preamble is not None:
            self._preamble += stop - at
            if self._preamble > MAX_HEAD:
                raise MalformedMultipart("The first part does not begin.")
        elif stop > at:
            events.append(memoryview(data)[at:stop])
        if after is not None:
            self._preamble = None
            self._is_in_head = True
            self.has_ended = after[1] == b"--"
        if go_on is None:
            self._rest = data[stop:]
        return go_on
