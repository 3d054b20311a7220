"""What passes on the network, counted by the upload that it is for."""

from __future__ import annotations

import re

_CONTENT = re.compile(rb"(?:PATCH|POST|PUT) /files/(\w+) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+) *\r\n", re.IGNORECASE)
_HEAD = 64 * 1024  # bytes; more is no request of ours
_MANY = 1000  # uploads


class Counts(dict[str, int]):
    """How many bytes of content have passed for each upload, the newest ones only."""

    def add(self, upload_id: str, size: int) -> None:
        if upload_id not in self and len(self) >= _MANY:
            del self[next(iter(self))]
        self[upload_id] = self.get(upload_id, 0) + size


class Requests:
    """Reads what a client sends on one connection, as far as it takes to tell content from the rest.

    Chunked requests, which no browser sends, end the counting.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._head = b""
        self._upload_id: str | None = None  # of the content that comes now
        self._left = 0  # bytes of the content that are still to come
        self._is_lost = False

    def feed(self, block: bytes) -> None:
        """Count the next bytes."""
        while block and not self._is_lost:
            if self._left:
                size = min(len(block), self._left)
                if self._upload_id is not None:
                    self._counts.add(self._upload_id, size)
                self._left -= size
                block = block[size:]
            else:
                block = self._read_head(block)

    def _read_head(self, block: bytes) -> bytes:
        head, end, content = (self._head + block).partition(b"\r\n\r\n")
        if not end:
            self._head = head
            self._is_lost = len(head) > _HEAD
            return b""
        self._head = b""
        found, length = _CONTENT.match(head), _LENGTH.search(head + b"\r\n")
        self._upload_id = found and found[1].decode()
        self._left = int(length[1]) if length else 0
        self._is_lost = b"\r\ntransfer-encoding:" in head.lower()
        return content
