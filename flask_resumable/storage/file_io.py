"""File operations that every storage needs: complete writes, and errors of the operating system as this package's."""

from __future__ import annotations

import errno
import os
from contextlib import AbstractContextManager

from ..errors import StorageFull
from ..errors import Unavailable

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _FileErrors:
    """A single instance serves all: it is entered for every block that is written, and keeps no state."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            raise (StorageFull() if error.errno in _NO_ROOM else Unavailable()) from error


#: Turns errors of the operating system into this package's; the original stays as the cause, for the log.
file_errors: AbstractContextManager[None] = _FileErrors()


def write_all(descriptor: int, block: bytes | memoryview, position: int) -> int:
    """Write the whole block at ``position``, in several calls if needed, and return its size in bytes."""
    written = os.pwrite(descriptor, block, position)
    if written == len(block):
        return written
    view = memoryview(block)
    while written < len(view):
        written += os.pwrite(descriptor, view[written:], position + written)
    return written
