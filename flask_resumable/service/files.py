"""The bytes of uploads, for the models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from ..core.upload import Upload
from . import moving
from .uploads import UploadService


class UploadFiles:
    """What models can do with the bytes of an upload; see ``models/interface.py``."""

    def __init__(self, service: UploadService, block_size: int) -> None:
        self._service = service
        self._block_size = block_size

    def open(self, upload: Upload) -> BinaryIO:
        return self._service.storage.open(upload)

    def path(self, upload: Upload) -> Path | None:
        return self._service.storage.path(upload)

    def is_busy(self, upload: Upload) -> bool:
        return upload.is_claimed(self._service.now())

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> Upload:
        return moving.move(upload, target, overwrite=overwrite)

    def digest(self, upload: Upload, name: str) -> str:
        return self._service.digest(upload, name, self._block_size)
