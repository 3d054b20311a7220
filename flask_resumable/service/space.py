"""Refuses content for which there is no space, before any of it is received."""

from __future__ import annotations

from ..core.upload import Upload
from ..errors import StorageFull
from ..interfaces import Storage


def check_space(storage: Storage, upload: Upload, size: int | None) -> None:
    """Check that the storage has space for more bytes of an upload, where the storage knows.

    Nothing is reserved: other uploads may need the same space. What arrives until the disk is full is kept.

    :param size: How many bytes are to come, or ``None`` if that is not known.
    :raises StorageFull: There is less space than that.
    """
    space = storage.capabilities.space
    if space is None or size == 0:
        return
    free = space.free(upload)
    if free is not None and (size or 1) > free:
        raise StorageFull(f"The server has no space for {size} more bytes; try again later." if size else None)
