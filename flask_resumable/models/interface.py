"""What every model of an upload offers to the app, whichever database it belongs to."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from typing import Protocol
from typing import TYPE_CHECKING
from weakref import ref
from weakref import WeakKeyDictionary

from flask import current_app
from flask import Flask

from ..core.metadata import UploadMetadata
from ..core.processing import Processing
from ..core.upload import JSONObject
from ..core.upload import Status
from ..core.upload import Upload
from . import upload as promised

if TYPE_CHECKING:
    # Type checkers do not see that a column is a plain value on instances, so they are told that every model is an
    # Upload. At run time, the metaclass of a protocol would clash with that of an ORM.
    _Promised = promised.Upload
else:
    _Promised = object


class Files(Protocol):
    """Access to the bytes of an app's uploads."""

    def open(self, upload: Upload) -> BinaryIO: ...

    def path(self, upload: Upload) -> Path | None: ...

    def digest(self, upload: Upload, name: str) -> str: ...

    def is_busy(self, upload: Upload) -> bool: ...

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> Upload: ...


# Weak on both sides: files refer to the app's database, and thus to the app, which would never be freed.
_files_of: WeakKeyDictionary[Flask, ref[Files]] = WeakKeyDictionary()


def bind_files(app: Flask, files: Files) -> None:
    """Make models in a context of ``app`` access their bytes through ``files``, which must be kept with the app."""
    _files_of[app] = ref(files)


def _files() -> Files:
    files = _files_of[current_app._get_current_object()]()  # type: ignore[attr-defined]
    assert files is not None
    return files


class UploadInterface(_Promised):
    """The attributes and methods that :class:`~flask_resumable.Upload` promises, for models of any kind."""

    if TYPE_CHECKING:

        def as_upload(self) -> Upload:
            """Return this record as the frozen value that the rules work on. Each model implements this."""

        def _set_storage(self, stored: JSONObject) -> None:
            """Set where the bytes are now, without marking the instance as changed in the app's session."""

        def _set_processing(self, processing: Processing) -> None:
            """Set what the app says about its processing, in the same way."""

    @property
    def filename(self) -> str | None:
        """The file name that the client sent. Never use it as a path."""
        return self.as_upload().metadata.filename

    @property
    def received(self) -> int:
        """The number of bytes received in total, including chunks after a gap."""
        return self.as_upload().received.total

    @property
    def complete(self) -> bool:
        """Whether every byte has arrived and ``on_complete`` has returned."""
        return self.as_upload().status is Status.COMPLETE

    @property
    def is_partial(self) -> bool:
        """Whether this is a partial upload (tus concatenation)."""
        return self.as_upload().is_partial

    @property
    def is_final(self) -> bool:
        """Whether this is a final upload, made of partial ones (tus concatenation)."""
        return self.as_upload().is_final

    @property
    def is_busy(self) -> bool:
        """Whether a request was working on the upload when it was loaded."""
        return _files().is_busy(self.as_upload())

    @property
    def path(self) -> Path | None:
        """The file with the bytes, or ``None`` if there is no local file. See :attr:`flask_resumable.Upload.path`."""
        return _files().path(self.as_upload())

    def move_to(self, target: str | os.PathLike[str], *, overwrite: bool = False) -> Path | None:
        """Move the file of a complete upload. See :meth:`flask_resumable.Upload.move_to`."""
        self._set_storage(_files().move(self.as_upload(), target, overwrite=overwrite).storage)
        return self.path

    def open(self) -> BinaryIO:
        """Open the bytes received so far for reading. See :meth:`flask_resumable.Upload.open`."""
        return _files().open(self.as_upload())

    def digest(self, name: str) -> str:
        """Return a hexadecimal digest of the bytes. See :meth:`flask_resumable.Upload.digest`."""
        return _files().digest(self.as_upload(), name)

    @property
    def md5(self) -> str:
        """The MD5 digest of the bytes. Computing it reads the whole file."""
        return self.digest("md5")

    @property
    def created_on(self) -> datetime:
        """An alias of ``created_at``."""
        return self.as_upload().created_at


class UploadView(UploadInterface):
    """An upload for repositories that do not use a model. Only ``max_size`` can be set, and only in ``on_create``."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self.id: str = upload.id
        self.length: int | None = upload.length
        self.offset: int = upload.offset
        self.metadata: UploadMetadata = upload.metadata
        self.raw_metadata: str = upload.metadata.raw
        self.max_size: int | None = upload.max_size
        self.owner: str | None = upload.owner
        self.status: str = upload.status.value
        self.created_at: datetime = upload.created_at
        self.updated_at: datetime | None = upload.updated_at
        self.expires_at: datetime | None = upload.expires_at
        self.processing_state: str | None = None if upload.processing is None else upload.processing.state.value
        self.processing_reason: str | None = None if upload.processing is None else upload.processing.reason

    def as_upload(self) -> Upload:
        return self._upload

    def _set_storage(self, stored: JSONObject) -> None:
        self._upload = replace(self._upload, storage=stored)

    def _set_processing(self, processing: Processing) -> None:
        self._upload = replace(self._upload, processing=processing)
        self.processing_state, self.processing_reason = processing.state.value, processing.reason
