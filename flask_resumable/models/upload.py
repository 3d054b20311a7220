"""The type of an upload, for annotations in the app."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from typing import Protocol
from typing import TYPE_CHECKING

from ..core.metadata import UploadMetadata

if TYPE_CHECKING:
    # Type checkers bring typing_extensions along. At run time, the default is not needed.
    from typing_extensions import TypeVar

    UploadT = TypeVar("UploadT", bound="Upload", default="Upload")
else:
    from typing import TypeVar

    UploadT = TypeVar("UploadT")


class Upload(Protocol):
    """An upload, as hooks receive it and as :meth:`FlaskResumable.get` returns it.

    Use it to annotate your hooks::

        class Uploads(FlaskResumable):
            def on_complete(self, upload: Upload) -> None:
                app.logger.info("%r: %d bytes", upload.filename, upload.length)

    The object is an instance of your model, with your own columns, or a read-only view if you have no model. To use
    your model in annotations, name it in the base class: ``class Uploads(FlaskResumable[MyUpload])``.

    Sizes are in bytes. Times are aware and in UTC. Clients choose :attr:`filename` and :attr:`metadata`: you can show
    them, but never build a path from them. Reading bytes needs an app context.
    """

    @property
    def id(self) -> str:
        """The id: 32 hexadecimal digits, the last part of the upload's URL."""
        ...

    @property
    def filename(self) -> str | None:
        """The file name that the client sent, if any. Never use it as a path."""
        ...

    @property
    def metadata(self) -> UploadMetadata:
        """The metadata that the client sent, as a mapping of strings.

        ::

            album = upload.metadata.get("album")
            thumbnail = upload.metadata.value_bytes("thumbnail")  # a value that is not text

        See :class:`~flask_resumable.core.metadata.UploadMetadata`. Spec: tus 1.0 "Upload-Metadata".
        """
        ...

    @property
    def raw_metadata(self) -> str:
        """The metadata as it was sent in the ``Upload-Metadata`` header."""
        ...

    @property
    def length(self) -> int | None:
        """The size of the whole file in bytes, or ``None`` while the client has not declared it."""
        ...

    @property
    def max_size(self) -> int | None:
        """The maximum size of this upload in bytes, or ``None`` if only the setting ``MAX_SIZE`` limits it.

        Set it in ``on_create``::

            def on_create(self, upload: Upload) -> None:
                upload.max_size = 2**30 if current_user.is_paying else 10 * 2**20

        If the client has declared a greater length, the upload is refused with a 413. Otherwise, the limit applies to
        everything that the client declares or sends later. It cannot raise the limit of the setting.
        """
        ...

    @max_size.setter
    def max_size(self, value: int | None) -> None: ...

    @property
    def offset(self) -> int:
        """The number of bytes received from the start of the file, without a gap."""
        ...

    @property
    def received(self) -> int:
        """The number of bytes received in total, including chunks after a gap."""
        ...

    @property
    def status(self) -> str:
        """The status of the upload.

        ``"new"`` while ``on_create`` runs, ``"active"`` while bytes arrive, ``"finishing"`` while ``on_complete`` runs,
        then ``"complete"``. An upload that is being removed is ``"deleting"``, then ``"gone"``.
        """
        ...

    @property
    def complete(self) -> bool:
        """Whether every byte has arrived and ``on_complete`` has returned."""
        ...

    @property
    def is_partial(self) -> bool:
        """Whether this is a partial upload. Spec: tus 1.0 "Concatenation"."""
        ...

    @property
    def is_final(self) -> bool:
        """Whether this is a final upload, made of partial ones. Spec: tus 1.0 "Concatenation"."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether a request was working on the upload when it was loaded. In a hook, that is the hook's own request."""
        ...

    @property
    def owner(self) -> str | None:
        """The owner who created the upload, as ``current_owner`` returned it, in text; ``None`` if it has no owner."""
        ...

    @property
    def created_at(self) -> datetime:
        """When the upload was created."""
        ...

    @property
    def created_on(self) -> datetime:
        """An alias of :attr:`created_at`."""
        ...

    @property
    def updated_at(self) -> datetime | None:
        """When a request last worked on the upload."""
        ...

    @property
    def expires_at(self) -> datetime | None:
        """When the upload expires unless it is complete by then. ``None`` if it never expires."""
        ...

    @property
    def processing_state(self) -> str | None:
        """What the app has said about its processing: ``"processing"``, ``"ready"``, ``"failed"``, or ``None``.

        :meth:`FlaskResumable.mark` sets it.
        """
        ...

    @property
    def processing_reason(self) -> str | None:
        """Why the processing failed, in one line for the person who uploads."""
        ...

    @property
    def path(self) -> Path | None:
        """The file with the bytes, finished or not, or ``None`` if there is no local file.

        The file belongs to the upload. To have it elsewhere, call :meth:`move_to`. If you move it in another way and
        something fails afterwards, its bytes are lost.
        """
        ...

    def open(self) -> BinaryIO:
        """Open the bytes received so far for reading, wherever they are stored. The stream is seekable; close it.

        ::

            with upload.open() as stream:
                image = Image.open(stream)

        :raises Unavailable: The storage cannot be reached.
        """
        ...

    def digest(self, name: str) -> str:
        """Return a hexadecimal digest of the bytes received so far.

        It is computed once and remembered until more bytes arrive::

            if upload.digest("sha256") != upload.metadata.get("sha256"):
                raise UploadRejected(400, "The file is damaged.")

        :param name: A name that :func:`hashlib.new` accepts, such as ``"sha256"`` or ``"md5"``.
        :raises ValueError: There is no such algorithm.
        :raises Unavailable: The storage cannot be reached.
        """
        ...

    @property
    def md5(self) -> str:
        """The MD5 digest. Computing it reads the whole file, so for large files use a task queue instead of a hook."""
        ...

    def move_to(self, target: str | os.PathLike[str], *, overwrite: bool = False) -> Path | None:
        """Move the finished file to where you want it. Call this in ``on_complete`` only.

        ::

            def on_complete(self, upload: Upload) -> None:
                upload.move_to(f"csv/{upload.id}.csv")

        From then on the file is read, downloaded, verified and deleted there. If the hook fails or the server crashes,
        the file is where it was before, and the hook is called again.

        :param target: A path within the upload folder, or an absolute path on this machine. With S3, a key below the
            prefix, or one anywhere in the bucket if it starts with ``/``. Missing folders are created.
        :param overwrite: Whether to replace an existing file.
        :return: The new :attr:`path`.
        :raises FileExistsError: A file exists there, and ``overwrite`` is false.
        :raises ValueError: A relative path leads out of the upload folder, or to where unfinished files are kept.
        :raises RuntimeError: ``on_complete`` is not running for this upload, or the storage cannot move files.
        :raises Unavailable: The storage cannot be reached.
        """
        ...
