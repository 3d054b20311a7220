"""A part of a stream as the body of a response."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import BinaryIO

BLOCK = 256 * 1024  # bytes read at a time


class Excerpt(Iterator[bytes]):
    """The bytes from ``start`` to ``stop``, in blocks. The WSGI server closes it, also when the client has left.

    :param stream: Seekable; closed with the excerpt, or as soon as that has been read.
    :param name: What to call it in the log.
    """

    def __init__(self, stream: BinaryIO, start: int, stop: int, *, name: str, logger: logging.Logger) -> None:
        self._stream = stream
        self._left = stop - start
        self._name = name
        self._logger = logger
        if start:
            stream.seek(start)

    def __next__(self) -> bytes:
        if not self._left:
            self.close()
            raise StopIteration
        try:
            block = self._stream.read(min(self._left, BLOCK))
        except Exception:
            # The answer has begun and cannot become an error: the client sees that it ends too early, and comes again.
            self._logger.exception("%s could not be read; its download was cut off.", self._name)
            block = b""
        else:
            if not block:
                self._logger.error("%s is %d bytes too short; its download was cut off.", self._name, self._left)
        self._left = self._left - len(block) if block else 0
        return block

    def close(self) -> None:
        """Done with it."""
        self._stream.close()
