"""What a storage needs for uploads that come in chunks, in any order and side by side."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import BinaryIO
from typing import Protocol

from ..core.upload import JSONObject
from ..core.upload import Upload
from .body import Piped


class Slot(Protocol):
    """The place of one chunk, for one request at a time."""

    def fill(self, content: BinaryIO) -> None:
        """Put the chunk there, durably. Raises ``ClaimLost`` if the upload has been finished or removed meanwhile."""
        ...


class IncomingChunk(Protocol):
    """The place of one chunk, for the one request that was the last to want it. What is there does not count yet."""

    is_first: bool  # nobody has put anything there before, and the upload was begun and is not over

    def write(self, block: bytes | memoryview, /) -> None:
        """Append; what passes the chunk's end is dropped.

        Raises ``ClaimLost`` when a later request is putting the same chunk there, or the upload is finished or removed.
        """
        ...

    def write_piped(self, block: Piped, /) -> None:
        """As ``write``, without looking at the content. The block must not pass the chunk's end."""
        ...

    def settling(self) -> AbstractContextManager[object]:
        """Make the chunk durable, and keep all others from its place for the block. Raises ``ClaimLost``."""
        ...

    def withdraw(self) -> None:
        """Close it before anything was written: the upload is over, or has the chunk. Leaves no trace."""
        ...

    def close(self) -> None:
        """Close it, and let others have the place."""
        ...


class PlacesChunks(Protocol):
    """A storage that takes uploads in chunks; decides whether flow.js is served.

    A chunk is received whole, beside the upload, before it is placed, unless there is a way to receive it in its place.
    Chunks of one upload are placed side by side; what is placed counts once the repository says so.
    """

    def layout(self, chunk_size: int, total_chunks: int) -> JSONObject:
        """What the storage has to know of a new upload's chunks; becomes its ``Upload.storage``."""
        ...

    def spool(self) -> BinaryIO:
        """Room for one chunk on its way: in memory if it is small, else a file that has no name and leaves no trace."""
        ...

    def placing(self, upload: Upload, number: int, start: int) -> AbstractContextManager[Slot]:
        """The place of chunk ``number``, at byte ``start``; other requests for the same one wait."""
        ...

    def receiving(self, upload: Upload, number: int, start: int, size: int) -> IncomingChunk | None:
        """A way to put chunk ``number`` in its place while it is still coming in.

        :return: ``None``: this upload's chunks must be received whole before.
        """
        ...
