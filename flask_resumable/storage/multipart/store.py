"""What an object store must do to keep uploads: the interface for authors of backends.

A backend is a subclass of :class:`ObjectStore` and, for the people who set it up, one of
:class:`~flask_resumable.storage.multipart.MultipartStorage`, whose constructor makes the store. ``storage/s3`` is one.
:class:`~flask_resumable.testing.ObjectStoreContract` tests a store,
:class:`~flask_resumable.testing.StorageContract` the storage on top of it.
"""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from typing import NamedTuple
from typing import Protocol

from .geometry import MIB
from .geometry import MIN_PART


class SizedStream(Protocol):
    """Content on its way to a store: its length is known, and it can be rewound to be sent once more.

    Reading raises a ``BaseException`` when nobody wants the content any more: let it through.
    """

    def __len__(self) -> int:
        """All of it, in bytes, wherever it is read at."""
        ...

    def read(self, size: int = -1, /) -> bytes | memoryview:
        """What comes next: at most ``size`` bytes, and nothing only at the end."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """To the start, or to the end."""
        ...

    def tell(self) -> int:
        """Where it is."""
        ...


class ListedObject(NamedTuple):
    """An object in a listing."""

    key: str
    size: int  # bytes
    modified: datetime  # when it was written, with a time zone


class ListedMultipart(NamedTuple):
    """A multipart upload in a listing."""

    key: str
    id: str
    begun: datetime  # with a time zone


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows of an object besides its bytes."""

    size: int = 0  # bytes
    metadata: Mapping[str, str] = field(default_factory=dict)  # of the app's own; names in lower case
    properties: Mapping[str, str] = field(default_factory=dict)  # of the store's own, such as its content type


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart upload, as the store has it."""

    tag: str
    size: int  # bytes
    modified: datetime  # with a time zone


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTraits:
    """In what one object store differs from others. The defaults are Amazon's."""

    copies_parts: bool = True  # can make a part of another object's bytes; else they go through this process
    has_upload_ids: bool = True  # gives out ids of multipart uploads, and refuses parts of those that are over
    signs_links: bool = True  # can make links by which anybody can fetch an object
    min_part: int = MIN_PART  # bytes that all parts but the last must have
    min_part_copy: int = MIN_PART  # bytes that a range must have to be copied as a part
    max_copy: int = 5 * 1024 * MIB  # bytes of an object that is copied as a whole


class ObjectStore(ABC):
    """One bucket, or container, of an object store. All threads of a process share one; a fork may come at any time.

    **Keys** are text of up to 1,024 bytes in UTF-8. They were made by this package, from ids and a prefix, or by the
    app. ``/`` in a key means nothing.

    **Consistency.** Whatever a method has done is seen by every call that begins after it has returned, from any
    machine, listings included. An object is there whole or not at all, and changes from one content to another at once.

    **Errors.** Each method raises, besides what its own docstring names,

    - :exc:`~flask_resumable.errors.Unavailable` when the store does not answer, has no time, or refuses for a reason
      that passes by itself; try again a few times before, within a minute or so;
    - :exc:`~flask_resumable.errors.StorageRefuses` when it refuses for a reason that stays, such as a missing
      permission; use :func:`~flask_resumable.storage.multipart.errors.log_refusal` to tell the operator;
    - :exc:`~flask_resumable.errors.StorageFull` when there is no room.

    The store's own error is their cause. After any of these, what was asked for may have been done, or not, or be done
    later: nothing here depends on which.

    **Multipart uploads** have an id, and parts with numbers from 1 to 10,000. A part has a *tag*, which is another one
    whenever a part with other content is sent under its number. For a store without ids, make them up, and mark the
    parts (or blocks) with them: several multipart uploads of one key must not see each other's parts.
    """

    traits = StoreTraits()

    @property
    def equal_parts(self) -> bool | None:
        """Whether all parts of an object must have one size, but for the last, which may be smaller.

        ``None``: that is not known. Then a refusal to complete tells (:exc:`~.errors.PartsRefused`).
        """
        return False

    @abstractmethod
    def location(self, key: str) -> str:
        """Where an object is, as people write it: ``s3://bucket/key``. Asks nothing of the store, tells no secret."""

    # --- objects ---

    @abstractmethod
    def put(self, key: str, body: bytes | SizedStream, *, only_new: bool = False) -> None:
        """Write an object, in place of any that is there.

        :param only_new: Write it only if there is none. Of several calls at once, from any machines, one succeeds.
        :raises Taken: With ``only_new``, there is one.
        """

    @abstractmethod
    def get(self, key: str, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to, but not including, ``stop``: all of them.

        :raises Missing: There is no such object, or it ends before ``stop``.
        """

    @abstractmethod
    def read(self, key: str) -> bytes:
        """All of a small object.

        :raises Missing: There is no such object.
        """

    @abstractmethod
    def head(self, key: str) -> ObjectInfo | None:
        """What is known of an object; ``None`` if there is none."""

    def size(self, key: str) -> int | None:
        """How many bytes an object has; ``None`` if there is none."""
        found = self.head(key)
        return None if found is None else found.size

    @abstractmethod
    def copy(self, key: str, source: str, info: ObjectInfo) -> None:
        """Copy an object of up to ``traits.max_copy`` bytes within the store, in place of any that is there.

        :param info: The metadata and the properties of the copy, which the source's do not get into.
        :raises Missing: There is no such source.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

    @abstractmethod
    def objects(self, prefix: str) -> Iterator[ListedObject]:
        """All objects whose keys begin with ``prefix``, in the order of their keys, a page at a time."""

    def link(self, key: str, *, seconds: int, content_type: str, content_disposition: str) -> str:
        """A URL by which anybody can fetch an object for so many seconds. Asks nothing of the store.

        Only called where ``traits.signs_links``.

        :param content_type: The answer's ``Content-Type``; ``content_disposition`` likewise.
        """
        raise NotImplementedError

    # --- multipart uploads ---

    @abstractmethod
    def begin(self, key: str, info: ObjectInfo | None = None) -> str:
        """Start a multipart upload, with an id that was never used before. The object at ``key`` stays as it is.

        :param info: The metadata and the properties of the object that it becomes. ``complete`` gets them, too.
        """

    @abstractmethod
    def put_part(self, key: str, multipart: str, number: int, body: bytes | SizedStream) -> str:
        """Write a part, whole or not at all, in place of any with this number.

        :return: Its tag, which must not begin with ``@``.
        :raises Missing: The multipart upload was completed or aborted. A store without ``traits.has_upload_ids`` takes
            the part, and lists it until it is aborted.
        """

    def copy_part(self, key: str, multipart: str, number: int, source: str, start: int, stop: int) -> str:
        """Make a part of an object's bytes from ``start`` up to ``stop`` within the store; otherwise as ``put_part``.

        Only called where ``traits.copies_parts``, for ``traits.min_part_copy`` bytes or more.

        :raises Missing: There is no such source, or it ends before ``stop``; or as for ``put_part``.
        """
        raise NotImplementedError

    @abstractmethod
    def parts(self, key: str, multipart: str) -> dict[int, Part]:
        """All parts that are there, by number; of several with one number, the one that came last.

        :raises Missing: As for ``put_part``. Without ``traits.has_upload_ids`` there are just none.
        """

    @abstractmethod
    def complete(self, key: str, multipart: str, tags: Sequence[str], info: ObjectInfo | None = None) -> None:
        """Make an object of the parts 1, 2, 3 and so on with these tags, in place of any that is there.

        The multipart upload is over then, and parts that are not named are removed. Without ``traits.has_upload_ids``,
        those of other multipart uploads of that key may be removed, too.

        :param info: What ``begin`` was given, for a store that keeps nothing of that.
        :raises PartsChanged: There is no such part with this tag (any more). Nothing has changed.
        :raises PartsRefused: The parts are there, and the store wants others (larger ones, or of one size). Nothing has
            changed.
        :raises Missing: As for ``put_part``. Without ``traits.has_upload_ids``, it is ``PartsChanged``.
        """

    @abstractmethod
    def abort(self, key: str, multipart: str) -> None:
        """Remove a multipart upload with all its parts, if it is there; never the object at ``key``.

        Without ``traits.has_upload_ids`` it may take the other parts of that key with it, unless it has none itself.
        """

    @abstractmethod
    def multiparts(self, prefix: str) -> Iterator[ListedMultipart]:
        """All multipart uploads of keys that begin with ``prefix``, a page at a time.

        Those that have no parts yet may be left out where nothing is kept of them.
        """
