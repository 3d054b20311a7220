"""What a storage, or its writers, may be able to do besides what all must.

Capabilities are data: :class:`StorageCapabilities` and :class:`WriterCapabilities` have one field for each, which holds
the object that can do it, most often the storage or the writer itself, or ``None``. Nothing is inferred from methods.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from typing import Protocol

from ..core.upload import JSONObject
from ..core.upload import Upload
from .body import Piped
from .chunks import PlacesChunks


class ChoosesPlaces(Protocol):
    """A storage that stands for several: it says where each upload's bytes go.

    The place is noted under one key of ``Upload.storage``, which no storage's own answers take away; a storage reads
    from it, with :meth:`~flask_resumable.core.placement.Place.of`, the folder below which it publishes this upload.
    """

    def choose(self, upload: Upload) -> JSONObject:
        """Asked once, before there is a record; becomes ``Upload.storage``. Raises ``UploadRejected`` to refuse."""
        ...


class LinksDownloads(Protocol):
    """A storage whose finished uploads clients can fetch from it directly."""

    def presigned_url(
        self, upload: Upload, *, expires: timedelta, filename: str, content_type: str, disposition: str
    ) -> str | None:
        """A URL by which anybody can fetch a finished upload until it has expired.

        :param filename: The name that a browser saves it under.
        :param disposition: ``"attachment"``, or ``"inline"`` if a browser may show it.
        :return: ``None``: this upload cannot be fetched elsewhere.
        """
        ...


class Verifies(Protocol):
    """A storage that holds its bytes against the records."""

    def verify(self, upload: Upload) -> list[str]:
        """What is wrong with the upload's bytes, a line for each trouble; reads no contents, changes nothing."""
        ...


class Locates(Protocol):
    """A storage whose uploads are at places that can be told, though they are no files."""

    def location(self, upload: Upload) -> str | None:
        """Where the bytes are, or will be, as people write it: ``s3://bucket/key``. Tells no secret."""
        ...


class Moves(Protocol):
    """A storage that puts finished uploads where the app wants them."""

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> JSONObject:
        """Give the published bytes a second place; the ``Upload.storage`` that names it. May be repeated.

        The first place stays until :meth:`settle_moves`.

        :param target: Below the storage's own folder or prefix; with a ``/`` in front, anywhere.
        :raises FileExistsError: Something else is there, and ``overwrite`` is not set.
        :raises ValueError: Nothing can be there.
        """
        ...

    def settle_moves(self, upload: Upload) -> None:
        """Leave the bytes only where ``upload`` says they are, and its record too. May be repeated."""
        ...

    def delete(self, upload: Upload) -> None:
        """As every storage does, in all places to which the upload was moved."""
        ...


class TakesPiped(Protocol):
    """A writer that moves content from the socket to its place within the kernel."""

    def write_piped(self, block: Piped, /) -> None:
        """As ``write``, without looking at the content."""
        ...


class KeepsProgress(Protocol):
    """A storage that knows how far a request has written, before the record does.

    What it knows outlives the process of that request. Its writers keep it up to date.
    """

    def progress(self, upload: Upload, *, durable: bool = True) -> int | None:
        """The offset that the holder of ``upload`` has reached.

        :param durable: Make the bytes up to there as durable as the settings promise, so that it can be told.
        :return: Never less than ``upload.offset``. ``None``: this upload's bytes are where that is not known.
        """
        ...

    def recover(self, upload: Upload, fence: int) -> int:
        """The same, durable, for a request whose claim is now ``fence``: first locks out whoever wrote before.

        Raises ``ClaimLost`` if a newer claim has been here.
        """
        ...


class NotesProgress(Protocol):
    """A writer of a storage that :class:`KeepsProgress`."""

    is_counted: bool  # to be set to False where nothing counts before a checksum has been verified

    def check(self) -> None:
        """Raises ``ClaimLost`` once a newer claim has opened this upload for writing. Takes next to no time."""
        ...


class Paced(Protocol):
    """A writer that says when the record is to be saved, and with what.

    For a storage that makes bytes durable a while after it got them, and that must have told the record what it is
    about to do before it does it. It is asked after each block.
    """

    @property
    def is_due(self) -> bool:
        """Whether the record is to be saved now."""
        ...

    def checkpoint(self, *, counts: bool) -> tuple[int, JSONObject]:
        """How many bytes of this write are durable so far, and the new ``Upload.storage``; waits for none.

        :param counts: Whether bytes of this write count yet; if not, the result is 0 and the storage as it was.
        """
        ...

    def saved(self) -> None:
        """The record says what the last ``checkpoint`` returned."""
        ...

    def conclude(self, *, counts: bool) -> tuple[int, JSONObject]:
        """As ``checkpoint``, but the last of this write, which has failed: save what can be saved."""
        ...


class Concatenates(Protocol):
    """A storage that puts uploads together; decides whether tus's ``concatenation`` is offered."""

    def concatenate(self, upload: Upload, parts: Sequence[Upload], fence: int) -> JSONObject:
        """Fill ``upload`` with the bytes of its parts, in order; the new ``Upload.storage``. May be repeated."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCapabilities:
    """What a storage can do besides what every storage must, as its attribute ``capabilities``.

    ::

        class MyStorage:
            def __init__(self) -> None:
                self.capabilities = StorageCapabilities(concatenation=self, verification=self)

    They are asked for when the app starts, and must not change afterwards. A type checker sees here whether the methods
    are there. To take one away in a subclass, use :func:`dataclasses.replace`.
    """

    chunks: PlacesChunks | None = None  # decides whether flow.js is served
    concatenation: Concatenates | None = None  # decides whether concatenation is offered
    progress: KeepsProgress | None = None
    moves: Moves | None = None  # decides whether upload.move_to() works
    links: LinksDownloads | None = None
    locations: Locates | None = None
    verification: Verifies | None = None  # decides whether "flask tus verify" works
    placement: ChoosesPlaces | None = None


class WriterCapabilities(NamedTuple):
    """What a writer can do besides what every writer must, as its attribute ``capabilities``; asked for once a request.

    ::

        class MyWriter:
            capabilities = WriterCapabilities()  # nothing
    """

    paced: Paced | None = None
    progress: NotesProgress | None = None
    pipes: TakesPiped | None = None
