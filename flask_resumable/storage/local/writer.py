"""Writes the content of a request, or a chunk, to a local file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO
from typing import Self

from ...core.upload import JSONObject
from ...errors import ClaimLost
from ...errors import Unavailable
from ...interfaces import Piped
from ...interfaces import WriterCapabilities
from ..file_io import file_errors
from ..file_io import write_all
from .fence import Fence
from .files import begin_sync
from .files import splice_all
from .files import sync_content
from .files import sync_file

BEGIN_SYNC_EVERY = 8 * 1024 * 1024  # in bytes


class LocalSlot:
    """The place of a chunk; implements :class:`~flask_resumable.interfaces.chunks.Slot`."""

    def __init__(self, fill: Callable[[BinaryIO], None]) -> None:
        self.fill = fill


class LocalWriter:
    """Appends blocks under the fence, and closes both; implements :class:`~flask_resumable.interfaces.Writer`."""

    def __init__(self, descriptor: int, fence: Fence, number: int, start: int, durability: str) -> None:
        self._descriptor = descriptor
        self._fence = fence
        self._number = number
        self._held = fence.held(number)
        self._position = self._begun = start
        self._durability = durability
        self._has_failed = False
        self.is_counted = True

    @property
    def capabilities(self) -> WriterCapabilities:
        return WriterCapabilities(progress=self, pipes=self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            os.close(self._descriptor)
        finally:
            self._fence.close()

    def write(self, block: bytes | memoryview, /) -> None:
        with file_errors, self._held:
            self._position += write_all(self._descriptor, block, self._position)
            if self.is_counted:
                self._fence.note(self._position)
        if self._position - self._begun >= BEGIN_SYNC_EVERY:
            self._begin_sync()

    def write_piped(self, block: Piped, /) -> None:
        with file_errors, self._held:
            splice_all(block.descriptor, block.size, self._descriptor, self._position)
            self._position += block.size
            if self.is_counted:
                self._fence.note(self._position)
        if self._position - self._begun >= BEGIN_SYNC_EVERY:
            self._begin_sync()

    def check(self) -> None:
        self._fence.check(self._number)

    def _begin_sync(self) -> None:
        """Make the disk work while more content arrives, so that the client waits less for the final sync."""
        if self._durability != "none":
            begin_sync(self._descriptor, self._begun, self._position - self._begun)
        self._begun = self._position

    def flush(self) -> JSONObject:
        # A failed sync may have discarded dirty pages, and a second one would report success. In another process, too.
        if self._has_failed:
            raise Unavailable("An earlier write could not be made durable; request the current offset and resume.")
        try:
            with file_errors:
                sync(self._descriptor, self._durability)
        except BaseException:
            self._has_failed, self.is_counted = True, False
            with suppress(OSError, ClaimLost), self._held:
                self._fence.note(0)
            raise
        return {}


def sync(descriptor: int, durability: str) -> None:
    """Make a file's content as durable as the setting promises."""
    if durability == "full":
        sync_file(descriptor)
    elif durability == "data":
        sync_content(descriptor)
