"""Gives models access to the bytes of their uploads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..core.upload import Status
from ..core.upload import Upload
from ..errors import Unavailable
from ..errors import UploadNotFound
from . import moving
from .uploads import UploadService


class UploadFiles:
    """Implements what models do with the bytes of an upload; see ``models/interface.py``.

    An instance that was loaded while ``on_complete`` ran does not know where the file went. If the bytes are not where
    the instance says, the record is read again.

    :param is_in_hook: Whether a hook is running for the upload with this id. It may hold the only connection to the
        database, and its instance is up to date.
    """

    def __init__(self, service: UploadService, block_size: int, is_in_hook: Callable[[str], bool]) -> None:
        self._service = service
        self._block_size = block_size
        self._is_in_hook = is_in_hook

    def open(self, upload: Upload) -> BinaryIO:
        try:
            return self._service.storage.open(upload)
        except Unavailable:
            current = self._current(upload)
            if current is None:
                raise
        return self._service.storage.open(current)

    def path(self, upload: Upload) -> Path | None:
        path = self._service.storage.path(upload)
        if path is None or not _may_be_stale(upload) or path.exists():
            return path
        current = self._current(upload)
        return path if current is None else self._service.storage.path(current)

    def is_busy(self, upload: Upload) -> bool:
        return upload.is_claimed(self._service.now())

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> Upload:
        return moving.move(upload, target, overwrite=overwrite)

    def digest(self, upload: Upload, name: str) -> str:
        try:
            return self._service.digest(upload, name, self._block_size)
        except Unavailable:
            current = self._current(upload)
            if current is None:
                raise
        return self._service.digest(current, name, self._block_size)

    def _current(self, upload: Upload) -> Upload | None:
        """Return the record as it is now, if the upload may have been completed since it was loaded."""
        if not _may_be_stale(upload) or self._is_in_hook(upload.id):
            return None
        try:
            current = self._service.repository.get(upload.id)
        except UploadNotFound:
            return None
        return current if current.is_same(upload) and current.storage != upload.storage else None


def _may_be_stale(upload: Upload) -> bool:
    return upload.is_whole and upload.status in (Status.ACTIVE, Status.FINISHING)
