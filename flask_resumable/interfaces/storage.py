"""What keeps the bytes of uploads."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from typing import Protocol

from ..core.upload import JSONObject
from ..core.upload import Upload
from .capabilities import StorageCapabilities
from .capabilities import WriterCapabilities


class Writer(Protocol):
    """Receives the content of one write, block by block."""

    @property
    def capabilities(self) -> WriterCapabilities:
        """What this writer can do beyond this interface."""
        ...

    def write(self, block: bytes | memoryview, /) -> None:
        """Append a block. Raises ``ClaimLost`` once a newer claim has opened this upload for writing."""
        ...

    def flush(self) -> JSONObject:
        """Make everything written as durable as the settings promise, and return the new ``Upload.storage``."""
        ...


class Storage(Protocol):
    """Keeps the bytes of uploads.

    It finds them by ``Upload.stored_as``, not by the id: a removed upload may have had the same id.

    Every method turns ``OSError`` and errors like it into ``Unavailable`` or ``StorageFull``. If saved bytes are
    missing, for example after a power failure with ``DURABILITY = "none"``, ``writer`` and ``finish`` raise
    ``BytesLost`` with the offset of the first missing byte.
    """

    @property
    def capabilities(self) -> StorageCapabilities:
        """What this storage can do beyond this interface."""
        ...

    def writer(self, upload: Upload, start: int, fence: int) -> AbstractContextManager[Writer]:
        """Open the upload for writing from byte ``start``.

        The first write creates it. Bytes beyond the saved ones are garbage and may be overwritten.

        :param fence: The number of the caller's claim.
        :raises ClaimLost: A newer claim has opened this upload for writing.
        """
        ...

    def finish(self, upload: Upload, fence: int) -> JSONObject:
        """Publish a completely received upload durably, lock out all writers, and return the new ``Upload.storage``.

        May be repeated.
        """
        ...

    def open(self, upload: Upload) -> BinaryIO:
        """Open the upload's bytes for reading. The stream is seekable."""
        ...

    def path(self, upload: Upload) -> Path | None:
        """Return the file with the bytes, or ``None`` if they are not in a local file."""
        ...

    def delete(self, upload: Upload) -> None:
        """Remove every trace of the upload. May be repeated."""
        ...

    def remove_orphans(self, upload: Upload) -> None:
        """Remove what a late writer may have left of a finished or removed upload, but never finished bytes."""
        ...

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        """Yield uploads with unfinished bytes that were last changed before ``older_than``.

        Each item is the name of an upload's bytes (``Upload.stored_as``) and a callable. It removes all unfinished
        bytes with that name and returns how many bytes it freed. Yield each name once.
        """
        ...
