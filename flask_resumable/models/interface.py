"""What every model of an upload offers to the app, whatever database keeps it."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from typing import Protocol
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from flask import current_app
from flask import Flask

from ..core.metadata import UploadMetadata
from ..core.upload import JSONObject
from ..core.upload import Status
from ..core.upload import Upload
from . import upload as promised

if TYPE_CHECKING:
    # For the checkers, every model is an Upload by name: they do not see that a column is a value on an instance. Not
    # at run time, when the metaclass of a protocol and that of an ORM would clash.
    _Promised = promised.Upload
else:
    _Promised = object


class Files(Protocol):
    """The bytes of an app's uploads."""

    def open(self, upload: Upload) -> BinaryIO: ...

    def path(self, upload: Upload) -> Path | None: ...

    def digest(self, upload: Upload, name: str) -> str: ...

    def is_busy(self, upload: Upload) -> bool: ...

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> Upload: ...


_files_of: WeakKeyDictionary[Flask, Files] = WeakKeyDictionary()


def bind_files(app: Flask, files: Files) -> None:
    """From here on, models in a context of ``app`` find their bytes through ``files``."""
    _files_of[app] = files


def _files() -> Files:
    return _files_of[current_app._get_current_object()]  # type: ignore[attr-defined]


class UploadInterface(_Promised):
    """An upload as hooks and views see it: what :class:`~flask_resumable.Upload` promises, for any model."""

    if TYPE_CHECKING:

        def as_upload(self) -> Upload:
            """This record as the frozen value that the rules work on; each model has its own."""

        def _set_storage(self, stored: JSONObject) -> None:
            """Show where the bytes are by now, without a change that the app's session would save."""

    @property
    def filename(self) -> str | None:
        """The client's name for the file. Never use it as a path."""
        return self.as_upload().metadata.filename

    @property
    def received(self) -> int:
        """How many bytes have been received in all, chunks after a gap included."""
        return self.as_upload().received.total

    @property
    def complete(self) -> bool:
        """Whether every byte is here and ``on_complete`` has returned."""
        return self.as_upload().status is Status.COMPLETE

    @property
    def is_partial(self) -> bool:
        """Whether it is only a part for another upload (tus concatenation)."""
        return self.as_upload().is_partial

    @property
    def is_final(self) -> bool:
        """Whether it is made of other uploads (tus concatenation)."""
        return self.as_upload().is_final

    @property
    def is_busy(self) -> bool:
        """Whether a request was working on it when it was loaded."""
        return _files().is_busy(self.as_upload())

    @property
    def path(self) -> Path | None:
        """Where the bytes lie; ``None`` if they are not in a local file. See :attr:`flask_resumable.Upload.path`."""
        return _files().path(self.as_upload())

    def move_to(self, target: str | os.PathLike[str], *, overwrite: bool = False) -> Path | None:
        """Put the finished file elsewhere, in ``on_complete``. See :meth:`flask_resumable.Upload.move_to`."""
        self._set_storage(_files().move(self.as_upload(), target, overwrite=overwrite).storage)
        return self.path

    def open(self) -> BinaryIO:
        """The bytes so far, readable and seekable."""
        return _files().open(self.as_upload())

    def digest(self, name: str) -> str:
        """A hexadecimal digest of the bytes so far. See :meth:`flask_resumable.Upload.digest`."""
        return _files().digest(self.as_upload(), name)

    @property
    def md5(self) -> str:
        """``digest("md5")``, which reads the whole file."""
        return self.digest("md5")

    @property
    def created_on(self) -> datetime:
        """Another name for ``created_at``."""
        return self.as_upload().created_at


class UploadView(UploadInterface):
    """A read-only upload, for repositories that have no model of their own."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self.id: str = upload.id
        self.length: int | None = upload.length
        self.offset: int = upload.offset
        self.metadata: UploadMetadata = upload.metadata
        self.raw_metadata: str = upload.metadata.raw
        self.owner: str | None = upload.owner
        self.status: str = upload.status.value
        self.created_at: datetime = upload.created_at
        self.updated_at: datetime | None = upload.updated_at
        self.expires_at: datetime | None = upload.expires_at

    def as_upload(self) -> Upload:
        return self._upload

    def _set_storage(self, stored: JSONObject) -> None:
        self._upload = replace(self._upload, storage=stored)
