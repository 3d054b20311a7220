"""The optional capabilities of repositories, storages and writers.

They are declared as data: :class:`RepositoryCapabilities`, :class:`StorageCapabilities` and
:class:`WriterCapabilities` have a field for each. It holds the object that implements it, usually the repository, the
storage or the writer itself, or ``None``. Nothing is detected from methods.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from typing import Any
from typing import NamedTuple
from typing import Protocol

from ..core.health import CheckResult
from ..core.upload import JSONObject
from ..core.upload import Upload
from .body import Piped
from .chunks import PlacesChunks


class LocatesRecords(Protocol):
    """Knows where it keeps the records, so that commands can tell why they find none.

    Neither method connects to the database.
    """

    setting: str  #: the name of the setting that says where, or another name of the database for messages

    def is_in_memory(self) -> bool:
        """Whether only this process can see the records."""
        ...

    def file(self) -> str | None:
        """Return the path of the database if it is a file, which may not exist yet."""
        ...


class HasClock(Protocol):
    """Has a clock, which should agree with that of the app's server."""

    def time(self) -> datetime | None:
        """Return the present time by the database's clock, with a time zone, or ``None`` if it cannot be asked for.

        :raises Unavailable: The database cannot be reached.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryCapabilities:
    """The optional capabilities of a repository, in its attribute ``capabilities``.

    ::

        class MyRepository:
            def __init__(self) -> None:
                self.capabilities = RepositoryCapabilities(clock=self)

    They must not change later.
    """

    location: LocatesRecords | None = None  #: without it, other processes are expected to see the records
    clock: HasClock | None = None  #: for "flask tus check"


class ChoosesPlaces(Protocol):
    """Decides where the bytes of each upload go, for a storage that combines several.

    The place is stored under a key of its own in ``Upload.storage``, which the data of a storage cannot overwrite. A
    storage calls :meth:`~flask_resumable.core.placement.Place.of` to get the folder to publish an upload in.
    """

    default: str  #: the name of the storage that has the uploads without a place

    def choose(self, upload: Upload) -> JSONObject:
        """Return the initial ``Upload.storage``. Called once, before there is a record; ``UploadRejected`` refuses."""
        ...


class TakesParameters(Protocol):
    """Keeps uploads with parameters that the app chooses for each, such as a storage class.

    :attr:`Place.parameters <flask_resumable.core.placement.Place>` has those of an upload.
    """

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Check them.

        :raises ValueError: A parameter is unknown, or its value has the wrong type.
        """
        ...


class LinksDownloads(Protocol):
    """Lets clients download finished uploads directly from the storage."""

    def presigned_url(
        self, upload: Upload, *, expires: timedelta, filename: str, content_type: str, disposition: str
    ) -> str | None:
        """Return a URL from which anybody can download a finished upload until it expires.

        :param expires: How long the URL works.
        :param filename: The name under which a browser saves the file.
        :param disposition: ``"attachment"``, or ``"inline"`` if a browser may show the file.
        :return: ``None`` if there is no such URL for this upload.
        """
        ...


class Verifies(Protocol):
    """Compares its bytes with the records."""

    def verify(self, upload: Upload) -> list[str]:
        """Return a line for each thing that is wrong with the upload's bytes. Reads no contents and changes nothing.

        This is not asked for uploads that are new or being removed, or for tombstones.
        """
        ...


class Locates(Protocol):
    """Can name the location of its uploads, although they are not local files."""

    def location(self, upload: Upload) -> str | None:
        """Return the location of the bytes in the usual notation, such as ``s3://bucket/key``, without secrets."""
        ...


class ChecksHealth(Protocol):
    """Finds out whether it can be used."""

    def check(self, now: datetime, *, quick: bool) -> Iterable[CheckResult]:
        """Return a result for each thing that was checked, with advice, without secrets.

        :param now: The time by the app's clock.
        :param quick: Whether a probe is waiting.
        """
        ...


class KnowsSpace(Protocol):
    """Knows how much space is left."""

    def free(self, upload: Upload) -> int | None:
        """Return how many more bytes of ``upload`` can be stored, or ``None`` if that is not known. Must be fast."""
        ...


class Moves(Protocol):
    """Moves finished uploads to where the app wants them."""

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> JSONObject:
        """Copy or link the published bytes to a second place, and return the ``Upload.storage`` that names it.

        The bytes stay at the first place, too, until :meth:`settle_moves` is called. May be repeated.

        :param target: A path within the storage's folder or prefix, or anywhere if it starts with ``/``.
        :raises FileExistsError: Something else exists there, and ``overwrite`` is false.
        :raises ValueError: Uploads cannot be moved there.
        """
        ...

    def settle_moves(self, upload: Upload) -> None:
        """Keep only the copy that ``upload`` names, and forget the others. May be repeated."""
        ...

    def delete(self, upload: Upload) -> None:
        """Remove the upload like every storage does, from all places that it was moved to."""
        ...


class TakesPiped(Protocol):
    """Moves content from the socket to its destination within the kernel."""

    def write_piped(self, block: Piped, /) -> None:
        """Append like ``write``, without inspecting the content."""
        ...


class KeepsProgress(Protocol):
    """Knows how far a request has written before the record does.

    That knowledge outlives the request's process. The writers of the storage keep it up to date.
    """

    def progress(self, upload: Upload, *, durable: bool = True) -> int | None:
        """Return the offset that the current holder of ``upload`` has reached.

        :param durable: Whether to make the bytes up to there as durable as the settings promise, before returning.
        :return: At least ``upload.offset``, or ``None`` if it is not known for this upload.
        """
        ...

    def recover(self, upload: Upload, fence: int) -> int:
        """Lock out all earlier writers, and return the durable offset that they reached.

        :param fence: The number of the caller's claim.
        :raises ClaimLost: A newer claim has already done so.
        """
        ...

    def lower_fence(self, upload: Upload, newest: Callable[[], int | None]) -> None:
        """Admit writers again if they are locked out by a claim that the record does not know.

        A power failure can take claims from a database and leave the fence. No client could continue then.

        :param newest: Returns the number of the newest claim in the record, or ``None`` if nobody may write. Called
            while no writer can raise the fence, and only if the fence is ahead of ``upload``.
        """
        ...


class NotesProgress(Protocol):
    """Implemented by writers of a storage with :class:`KeepsProgress`."""

    is_counted: bool  #: set it to False if nothing counts until a checksum has been verified

    def check(self) -> None:
        """Raise ``ClaimLost`` if a newer claim has opened this upload for writing. This must be fast."""
        ...


class Paced(Protocol):
    """Decides when the record is saved during a write, and with what.

    For storages that make bytes durable some time after receiving them, and that must record what they are about to do
    before they do it. The methods are called after each block.
    """

    @property
    def is_due(self) -> bool:
        """Whether the record should be saved now."""
        ...

    def checkpoint(self, *, counts: bool) -> tuple[int, JSONObject]:
        """Return how many bytes of this write are durable, and the new ``Upload.storage``, without waiting for more.

        :param counts: Whether bytes of this write count yet. If not, return 0 and the storage data that fits it.
        """
        ...

    def saved(self) -> None:
        """Note that the record now has what the last ``checkpoint`` returned."""
        ...

    def conclude(self, *, counts: bool) -> tuple[int, JSONObject]:
        """Return a last ``checkpoint`` after this write has failed, and save as many bytes as possible."""
        ...


class SendsRequests(Protocol):
    """Sends requests to an object store, which can be measured."""

    def watch_requests(self, watch: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
        """Wrap what sends requests. Called once, when the app starts.

        :param watch: Takes the name of an operation and the function that performs it, and returns another one to call
            in its place.
        """
        ...


class Concatenates(Protocol):
    """Joins uploads. Without this, tus does not offer ``concatenation``."""

    def concatenate(self, upload: Upload, parts: Sequence[Upload], fence: int) -> JSONObject:
        """Fill ``upload`` with the bytes of its parts, in order, and return the new ``Upload.storage``.

        May be repeated.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCapabilities:
    """The optional capabilities of a storage, in its attribute ``capabilities``.

    ::

        class MyStorage:
            def __init__(self) -> None:
                self.capabilities = StorageCapabilities(concatenation=self, verification=self)

    Type checkers verify that the objects have the methods. The app reads the capabilities when it starts, so they must
    not change later. To remove one in a subclass, use :func:`dataclasses.replace`.
    """

    chunks: PlacesChunks | None = None  #: required for flow.js
    concatenation: Concatenates | None = None  #: required for tus concatenation
    progress: KeepsProgress | None = None  #: so that a request finds what an older one has written
    moves: Moves | None = None  #: required for upload.move_to()
    links: LinksDownloads | None = None  #: required for ``DOWNLOADS = "redirect"``
    locations: Locates | None = None  #: for "flask tus show"
    verification: Verifies | None = None  #: required for "flask tus verify"
    placement: ChoosesPlaces | None = None  #: for several storages, or a folder for each tenant
    requests: SendsRequests | None = None  #: for metrics and traces of an object store
    space: KnowsSpace | None = None  #: so that content that does not fit is refused before it is received
    health: ChecksHealth | None = None  #: for "flask tus check"
    parameters: TakesParameters | None = None  #: required for choose_object_parameters()


class WriterCapabilities(NamedTuple):
    """The optional capabilities of a writer, in its attribute ``capabilities``, which is read once per request.

    ::

        class MyWriter:
            capabilities = WriterCapabilities()  # none
    """

    paced: Paced | None = None  #: decides when the record is saved
    progress: NotesProgress | None = None  #: required if the storage has :class:`KeepsProgress`
    pipes: TakesPiped | None = None  #: content need not become a Python object
