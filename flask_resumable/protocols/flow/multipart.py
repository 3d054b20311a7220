"""Parses multipart bodies piece by piece. A piece may end anywhere.

Spec: RFC 2046 section 5.1.1, with the line ends of HTTP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD = 32 * 1024  # the maximum size of a part's headers, and of the preamble, in bytes
_AFTER_DELIMITER = re.compile(rb"[ \t]{0,64}(--|\r\n)")
_INCOMPLETE_AFTER = re.compile(rb"[ \t]{0,64}[-\r]?\Z")


class MalformedMultipart(ValueError):
    """The body is not a valid multipart body."""


@dataclass(frozen=True, slots=True)
class PartBegins:
    """The raw headers of a part. Its bytes follow, until the next part begins or the body ends."""

    head: bytes


PartEvent = PartBegins | memoryview


class MultipartParser:
    """Parses a body piece by piece. It keeps no more of it than a delimiter or the headers of a part."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._rest = b"\r\n"  # the first delimiter has no line end before it if the body begins with it
        self._preamble: int | None = 0  # bytes; None after the first delimiter
        self._is_in_head = False
        # How much of the blank line after the headers is still to come. It may be missing before a delimiter: then the
        # part is empty. Werkzeug's test client sends empty files like that.
        self._blank = 0
        self.has_ended = False  # whether the closing delimiter was found; what follows has no meaning

    @property
    def closing_sizes(self) -> tuple[int, int]:
        """The possible sizes of what follows the last part's content, with and without a line end."""
        size = len(self._delimiter) + len(b"--\r\n")
        return size, size - 2

    @property
    def is_in_content(self) -> bool:
        """Whether the next bytes are content, as opposed to the headers of a part."""
        return not self._is_in_head

    @property
    def held(self) -> int:
        """The number of bytes at hand that are either content or the beginning of a delimiter."""
        return len(self._rest) - self._blank

    def take_held(self) -> bytes:
        """Return these bytes. The caller knows the size of the content, so it knows that they are content."""
        rest, self._rest = self._rest[self._blank :], b""
        self._blank = 0
        return rest

    def feed(self, piece: bytes | memoryview) -> list[PartEvent]:
        """Parse the next piece of the body and return what is in it. Content is not copied once more.

        :raises MalformedMultipart: The preamble or the headers of a part are too long.
        """
        data = b"".join((self._rest, piece))
        events: list[PartEvent] = []
        at: int | None = 0
        while at is not None and not self.has_ended:
            if self._is_in_head:  # which begins with the line end after a delimiter, and ends before a blank line
                end = data.find(b"\r\n\r\n", at)
                if (len(data) if end < 0 else end) - at > MAX_HEAD:
                    raise MalformedMultipart("The headers of a part have no end.")
                if end < 0:
                    self._rest = data[at:]
                    break
                events.append(PartBegins(data[at + 2 : end]))
                self._is_in_head = False
                self._blank = 2
                at = end + 2
            at = self._content(data, at, events)
        return events

    def _content(self, data: bytes, at: int, events: list[PartEvent]) -> int | None:
        """Parse content up to the end of the next delimiter. Return the next position, or ``None`` for more data."""
        found = data.find(self._delimiter, at)
        behind = found + len(self._delimiter)
        after = None if found < 0 else _AFTER_DELIMITER.match(data, behind)
        go_on: int | None = None
        if after is not None:
            stop, go_on = found, after.start(1)
        elif found < 0:
            stop = max(at, len(data) - len(self._delimiter) + 1)  # a delimiter may begin there
        elif _INCOMPLETE_AFTER.match(data, behind):
            stop = found
        else:
            stop = go_on = found + 2  # it only looked like a delimiter
        if self._preamble is not None:
            self._preamble += stop - at
            if self._preamble > MAX_HEAD:
                raise MalformedMultipart("The first part does not begin.")
        elif stop > at:
            skipped = min(self._blank, stop - at)
            self._blank -= skipped
            if stop > at + skipped:
                events.append(memoryview(data)[at + skipped : stop])
        if after is not None:
            self._preamble = None
            self._blank = 0
            self._is_in_head = True
            self.has_ended = after[1] == b"--"
        if go_on is None:
            self._rest = data[stop:]
        return go_on
