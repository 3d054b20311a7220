"""A part of a stream as the body of a response."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import Unavailable

BLOCK = 256 * 1024  # bytes read at a time


class Excerpt(Iterator[bytes]):
    """The bytes from ``start`` to ``stop``, in blocks. The WSGI server closes it, also when the client has left.

    The first block is read at once, while the answer can still become an error.

    :param stream: Seekable; closed with the excerpt, or as soon as that has been read.
    :param name: What to call it in the log.
    :raises Unavailable: Nothing can be read.
    """

    def __init__(self, stream: BinaryIO, start: int, stop: int, *, name: str, logger: logging.Logger) -> None:
        self._stream = stream
        self._left = stop - start
        self._name = name
        self._logger = logger
        try:
            stream.seek(start)
            self._first = self._read()
        except BaseException:
            stream.close()
            raise

    def _read(self) -> bytes:
        """The next block; nothing only at the end."""
        block = self._stream.read(min(self._left, BLOCK)) if self._left else b""
        if self._left and not block:
            raise Unavailable from EOFError(f"{self._name} is {self._left} bytes too short.")
        self._left -= len(block)
        return block

    def __next__(self) -> bytes:
        try:
            block = self._first or self._read()
        except Exception:
            # The answer has begun and cannot become an error: the client sees that it ends too early, and comes again.
            self._logger.exception("The download of %s was cut off.", self._name)
            block = b""
        self._first = b""
        if not block:
            self.close()
            raise StopIteration
        return block

    def close(self) -> None:
        """Done with it."""
        self._stream.close()
