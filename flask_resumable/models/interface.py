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


class Files(Protocol):
    """The bytes of an app's uploads."""

    def open(self, upload: Upload) -> BinaryIO: ...

    def path(self, upload: Upload) -> Path | None: ...

    def digest(self, upload: Upload, name: str) -> str: ...

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> Upload: ...


_files_of: WeakKeyDictionary[Flask, Files] = WeakKeyDictionary()


def bind_files(app: Flask, files: Files) -> None:
    """From here on, models in a context of ``app`` find their bytes through ``files``."""
    _files_of[app] = files


def _files() -> Files:
    return _files_of[current_app._get_current_object()]  # type: ignore[attr-defined]


class UploadInterface:
    """An upload as hooks and views see it. Reading bytes needs an application context."""

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
    def complete(self) -> bool:
        """Whether every byte is here and published."""
        return self.as_upload().status is Status.COMPLETE

    @property
    def path(self) -> Path | None:
        """Where the bytes lie: the finished file, or the unfinished one; ``None`` if they are no local file.

        The file stays the upload's. To have it elsewhere, call :meth:`move_to`; whoever moves it by himself loses it if
        something fails afterwards.
        """
        return _files().path(self.as_upload())

    def move_to(self, target: str | os.PathLike[str], *, overwrite: bool = False) -> Path | None:
        """Put the finished file where the app wants it; only in ``on_complete``. The new :attr:`path`.

        From there it is read, downloaded, verified and deleted. If the hook fails or the server dies, it is as if
        nothing had been moved, and the hook is called again.

        :param target: A path below the upload folder, or an absolute one anywhere on this machine. In S3: a key below
            the prefix, or with a ``/`` in front anywhere in the bucket. Folders are made.
        :param overwrite: Whether something that is there already may be replaced.
        :raises FileExistsError: Something is there.
        :raises ValueError: A relative path leads out of the upload folder, or to where unfinished files are.
        """
        self._set_storage(_files().move(self.as_upload(), target, overwrite=overwrite).storage)
        return self.path

    def open(self) -> BinaryIO:
        """The bytes so far, readable and seekable."""
        return _files().open(self.as_upload())

    def digest(self, name: str) -> str:
        """A hex digest of the bytes so far; computed when first asked for, remembered until the bytes change.

        :param name: What :func:`hashlib.new` takes: ``"sha256"``, ``"md5"`` ...
        """
        return _files().digest(self.as_upload(), name)

    @property
    def md5(self) -> str:
        """``digest("md5")``. For a large file rather a task for a queue than for a hook."""
        return self.digest("md5")

    @property
    def created_on(self) -> datetime:
        """When it was created, in UTC."""
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
        self.expires_at: datetime | None = upload.expires_at

    def as_upload(self) -> Upload:
        return self._upload

    def _set_storage(self, stored: JSONObject) -> None:
        self._upload = replace(self._upload, storage=stored)
