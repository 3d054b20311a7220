"""What every upload offers to the app, whatever keeps its state: the type for annotations."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from typing import Protocol
from typing import TYPE_CHECKING

from ..core.metadata import UploadMetadata

if TYPE_CHECKING:
    # The checkers bring typing_extensions along; at run time, nobody asks for the default.
    from typing_extensions import TypeVar

    UploadT = TypeVar("UploadT", bound="Upload", default="Upload")
else:
    from typing import TypeVar

    UploadT = TypeVar("UploadT")


class Upload(Protocol):
    """An upload, as hooks get it and as :meth:`FlaskResumable.get` returns it.

    Use it to annotate your hooks::

        class Uploads(FlaskResumable):
            def on_complete(self, upload: Upload) -> None:
                app.logger.info("%r: %d bytes", upload.filename, upload.length)

    The object itself is an instance of your model, with your own columns, or a read-only view if you have no model. To
    annotate with your model, name it in the base class: ``class Uploads(FlaskResumable[MyUpload])``.

    Sizes are in bytes, times are in UTC with time zone. All that a client says (:attr:`filename`, :attr:`metadata`) is
    only that: show it, but never build a path from it. Reading bytes needs an app context.
    """

    @property
    def id(self) -> str:
        """32 hexadecimal digits, the last part of the upload's URL."""
        ...

    @property
    def filename(self) -> str | None:
        """The client's name for the file, if it has told one. Never use it as a path."""
        ...

    @property
    def metadata(self) -> UploadMetadata:
        """All that the client says about the file: a mapping of strings.

        ``upload.metadata.get("album")``, or ``upload.metadata.value_bytes("album")`` for what need not be text.
        """
        ...

    @property
    def raw_metadata(self) -> str:
        """The same as it was sent in the ``Upload-Metadata`` header."""
        ...

    @property
    def length(self) -> int | None:
        """The size of the whole file; ``None`` as long as the client has not told it."""
        ...

    @property
    def offset(self) -> int:
        """How many bytes have been received from the start of the file, without a gap."""
        ...

    @property
    def received(self) -> int:
        """How many bytes have been received in all, chunks after a gap included."""
        ...

    @property
    def status(self) -> str:
        """``"new"``, ``"active"``, ``"finishing"``, ``"complete"``; on the way out, ``"deleting"`` or ``"gone"``."""
        ...

    @property
    def complete(self) -> bool:
        """Whether every byte is here and ``on_complete`` has returned."""
        ...

    @property
    def is_partial(self) -> bool:
        """Whether it is only a part for another upload (tus concatenation)."""
        ...

    @property
    def is_final(self) -> bool:
        """Whether it is made of other uploads (tus concatenation)."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether a request was working on it when it was loaded. Not for hooks: there, their own request is."""
        ...

    @property
    def owner(self) -> str | None:
        """Who created it, as ``current_owner`` said it, in text; ``None``: nobody in particular."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it was created."""
        ...

    @property
    def created_on(self) -> datetime:
        """Another name for :attr:`created_at`."""
        ...

    @property
    def updated_at(self) -> datetime | None:
        """When a request last worked on it."""
        ...

    @property
    def expires_at(self) -> datetime | None:
        """Until when it must be complete; ``None``: it never expires. What is complete does not expire."""
        ...

    @property
    def path(self) -> Path | None:
        """Where the bytes lie: the finished file, or the unfinished one; ``None`` if they are not in a local file.

        The file stays the upload's: to have it elsewhere, call :meth:`move_to`. If you move it by other means and
        something fails afterwards, its bytes are lost.
        """
        ...

    def open(self) -> BinaryIO:
        """The bytes so far, readable and seekable, wherever they are stored. Close it when you are done.

        ::

            with upload.open() as stream:
                image = Image.open(stream)

        :raises Unavailable: The storage cannot be reached.
        """
        ...

    def digest(self, name: str) -> str:
        """A hexadecimal digest of the bytes so far; computed when first asked for, remembered until the bytes change.

        ::

            assert upload.digest("sha256") == upload.metadata["sha256"]

        :param name: What :func:`hashlib.new` takes: ``"sha256"``, ``"md5"`` ...
        """
        ...

    @property
    def md5(self) -> str:
        """``digest("md5")``. It reads the whole file: for a large one, ask in a task queue and not in a hook."""
        ...

    def move_to(self, target: str | os.PathLike[str], *, overwrite: bool = False) -> Path | None:
        """Put the finished file where the app wants it; only in ``on_complete``. The new :attr:`path`.

        From there it is read, downloaded, verified and deleted. If the hook fails or the server dies, it is as if
        nothing had been moved, and the hook is called again.

        ::

            def on_complete(self, upload: Upload) -> None:
                upload.move_to(f"csv/{upload.id}.csv")

        :param target: A path below the upload folder, or an absolute one anywhere on this machine. In S3: a key below
            the prefix, or with a ``/`` in front anywhere in the bucket. Folders are made.
        :param overwrite: Whether something that is there already may be replaced.
        :raises FileExistsError: Something is there.
        :raises ValueError: A relative path leads out of the upload folder, or to where unfinished files are.
        """
        ...
