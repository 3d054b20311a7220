"""What a storage implements to receive uploads in chunks, which arrive in any order and in parallel."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import BinaryIO
from typing import Protocol

from ..core.upload import JSONObject
from ..core.upload import Upload
from .body import Piped


class Slot(Protocol):
    """The place of one chunk in an upload. Only one request at a time has it."""

    def fill(self, content: BinaryIO) -> None:
        """Write the chunk durably. Raises ``ClaimLost`` if the upload was finished or removed in the meantime."""
        ...


class IncomingChunk(Protocol):
    """Writes one chunk to its place while it arrives, for the latest request that sends it. Nothing counts yet."""

    is_first: bool  #: whether nobody has written to this place before, and the upload exists and is unfinished

    def write(self, block: bytes | memoryview, /) -> None:
        """Append a block. Bytes beyond the end of the chunk are dropped.

        :raises ClaimLost: A later request is sending the same chunk, or the upload was finished or removed.
        """
        ...

    def write_piped(self, block: Piped, /) -> None:
        """Append like ``write``, without inspecting the content. The block must not exceed the chunk."""
        ...

    def settling(self) -> AbstractContextManager[object]:
        """Make the chunk durable, and lock its place within the context. Raises ``ClaimLost`` like ``write``."""
        ...

    def withdraw(self) -> None:
        """Give up before writing anything, and leave nothing behind, because the chunk is not needed after all."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


class PlacesChunks(Protocol):
    """Receives uploads in chunks. Without this, flow.js is not served.

    A chunk is spooled outside the upload and then copied to its place, unless :meth:`receiving` can write it there
    directly. Chunks of one upload are written in parallel. A chunk counts once the repository has recorded it.
    """

    def layout(self, chunk_size: int, total_chunks: int) -> JSONObject:
        """Return the initial ``Upload.storage`` for an upload in chunks. ``chunk_size`` is in bytes."""
        ...

    def spool(self) -> BinaryIO:
        """Return a temporary file for one chunk: in memory if it is small, else on disk but without a name."""
        ...

    def placing(self, upload: Upload, number: int, start: int) -> AbstractContextManager[Slot]:
        """Lock the place of chunk ``number``, at byte ``start``. Other requests for the same chunk wait."""
        ...

    def receiving(self, upload: Upload, number: int, start: int, size: int) -> IncomingChunk | None:
        """Prepare to write chunk ``number`` to its place while it arrives.

        :return: ``None`` if the chunk must be spooled first.
        """
        ...
