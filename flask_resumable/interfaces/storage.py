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
    """Takes the content of one write, block by block."""

    @property
    def capabilities(self) -> WriterCapabilities:
        """What it can do besides."""
        ...

    def write(self, block: bytes | memoryview, /) -> None:
        """Append to what was written. Raises ``ClaimLost`` once a newer claim has opened this upload for writing."""
        ...

    def flush(self) -> JSONObject:
        """Make all that was written as durable as the settings promise; the new ``Upload.storage``."""
        ...


class Storage(Protocol):
    """Keeps the bytes. ``OSError`` and its like become ``Unavailable`` or ``StorageFull`` in here.

    Where saved bytes turn out to be missing (after a power loss with ``DURABILITY = "none"``, say), ``writer`` and
    ``finish`` raise ``BytesLost`` with the offset up to which they are there.
    """

    @property
    def capabilities(self) -> StorageCapabilities:
        """What it can do besides what is here."""
        ...

    def writer(self, upload: Upload, start: int, fence: int) -> AbstractContextManager[Writer]:
        """Open for writing from byte ``start`` on. The first write creates; bytes past the saved ones are garbage."""
        ...

    def finish(self, upload: Upload, fence: int) -> JSONObject:
        """Publish a whole upload, durably, locking all writers out; the new ``Upload.storage``. May be repeated."""
        ...

    def open(self, upload: Upload) -> BinaryIO:
        """The upload's bytes, readable and seekable."""
        ...

    def path(self, upload: Upload) -> Path | None:
        """Where the bytes lie, if they are a file on this machine."""
        ...

    def delete(self, upload: Upload) -> None:
        """Remove every trace of the upload. May be repeated."""
        ...

    def remove_orphans(self, upload: Upload) -> None:
        """Remove what a late writer may have left beside a finished or removed upload; never finished bytes."""
        ...

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        """Unfinished bytes last touched before ``older_than``: an upload's id, and how to remove them.

        The callable removes what belongs to that id and returns how many bytes that freed.
        """
        ...
