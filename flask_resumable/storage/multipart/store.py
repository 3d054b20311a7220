"""The interface of an object store, for authors of backends.

A backend is a subclass of :class:`ObjectStore` and, for the people who set it up, one of
:class:`~flask_resumable.storage.multipart.MultipartStorage`, whose constructor makes the store. ``storage/s3`` is one.
:class:`~flask_resumable.testing.ObjectStoreContract` tests a store,
:class:`~flask_resumable.testing.StorageContract` the storage on top of it.
"""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from typing import Any
from typing import NamedTuple
from typing import Protocol

from .geometry import MIB
from .geometry import MIN_PART

_STEP = 8 * MIB  # bytes that ``get_into`` fetches at a time


class SizedStream(Protocol):
    """Content to be sent to a store. Its length is known, and it can be rewound to be sent again.

    Reading raises a ``BaseException`` once the content is no longer needed. Let it through.
    """

    def __len__(self) -> int:
        """Return the total size in bytes, whatever the position."""
        ...

    def read(self, size: int = -1, /) -> bytes | memoryview:
        """Return the next bytes: at most ``size``, and none only at the end."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to the start or to the end."""
        ...

    def tell(self) -> int:
        """Return the position."""
        ...


class ListedObject(NamedTuple):
    """An object in a listing."""

    key: str  #: as it was written
    size: int  #: in bytes
    modified: datetime  #: when it was written, with a time zone


class ListedMultipart(NamedTuple):
    """A multipart upload in a listing."""

    key: str  #: of the future object
    id: str  #: what ``begin`` returned
    begun: datetime  #: with a time zone


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows about an object besides its bytes."""

    size: int = 0  #: in bytes
    metadata: Mapping[str, str] = field(default_factory=dict)  #: set by the app; names in lower case
    properties: Mapping[str, str] = field(default_factory=dict)  #: the store's own, such as the content type
    content_type: str | None = None  #: for a new object; ``head`` returns it in ``properties``
    content_disposition: str | None = None  #: likewise
    parameters: Mapping[str, Any] = field(default_factory=dict)  #: that the app has chosen, in the store's own words


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart upload, as the store has it."""

    tag: str  #: what ``put_part`` returned
    size: int  #: in bytes
    modified: datetime  #: with a time zone


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTraits:
    """How object stores differ. The defaults are those of AWS."""

    copies_parts: bool = True  #: can make a part from another object's bytes; if not, they go through this process
    has_upload_ids: bool = True  #: assigns ids to multipart uploads, and refuses parts for finished ones
    puts_only_new: bool = True  #: can refuse to replace an object; if not, chunks are stored as objects first
    signs_links: bool = True  #: can sign links that let anybody download an object
    min_part: int = MIN_PART  #: the smallest part in bytes, except for the last one
    min_part_copy: int = MIN_PART  #: the smallest range in bytes that can be copied as a part
    max_copy: int = 5 * 1024 * MIB  #: the largest object in bytes that can be copied as a whole


class ObjectStore(ABC):
    """A bucket or container of an object store. All threads of a process share it. The process can fork at any time.

    **Keys** are text of up to 1,024 bytes in UTF-8. This package makes them from ids and a prefix, or the app chooses
    them. ``/`` has no special meaning.

    **Consistency.** After a method has returned, every later call sees its effect, on any machine and in listings. An
    object is either complete or does not exist, and its content changes atomically.

    **Errors.** In addition to the errors in its docstring, each method raises

    - :exc:`~flask_resumable.errors.Unavailable` if the store does not respond, is busy, or refuses for a reason that is
      temporary. Try again a few times before, for up to about a minute.
    - :exc:`~flask_resumable.errors.StorageRefuses` if it refuses for a reason that is not temporary, such as a missing
      permission. Call :func:`~flask_resumable.storage.multipart.log_refusal` to tell the operator.
    - :exc:`~flask_resumable.errors.StorageFull` if there is no space left.

    Raise them from the store's own error. After one of them, the operation may have taken effect, or not, or take
    effect later. Callers do not depend on it.

    **Multipart uploads** have an id, and parts with numbers from 1 to 10,000. A part has a *tag*. The tag changes if
    other content is sent under that number. For a store without ids, make them up and mark the parts (or blocks) with
    them: several multipart uploads of one key must not see each other's parts.
    """

    traits = StoreTraits()

    @property
    def equal_parts(self) -> bool | None:
        """Whether all parts of an object must have the same size, except for the last one, which may be smaller.

        ``None`` if that is unknown. Then :meth:`complete` shows it by raising :exc:`~.errors.PartsRefused`.
        """
        return False

    @abstractmethod
    def location(self, key: str) -> str:
        """Return where an object is, such as ``s3://bucket/key``, without secrets. This sends no request."""

    # --- objects ---

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Check parameters of objects that the app has chosen, such as a storage class. By default, there are none.

        :raises ValueError: A parameter is unknown, or its value has the wrong type.
        """
        if parameters:
            raise ValueError("This store has no parameters for objects.")

    @abstractmethod
    def put(
        self, key: str, body: bytes | SizedStream, *, only_new: bool = False, info: ObjectInfo | None = None
    ) -> None:
        """Write an object. This replaces an existing one.

        :param info: The metadata, the type and so on of a finished upload. ``None`` for the extension's own objects.
        :param only_new: Write it only if it does not exist. If several machines try at once, one of them succeeds.
            Set only with ``traits.puts_only_new``.
        :raises Taken: With ``only_new``, the object exists.
        """

    @abstractmethod
    def get(self, key: str, start: int, stop: int) -> bytes:
        """Return all bytes from ``start`` up to, but not including, ``stop``.

        :raises Missing: There is no such object, or it ends before ``stop``.
        """

    def get_into(self, key: str, start: int, stop: int, write: Callable[[bytes], object]) -> None:
        """Call ``write`` with the same bytes as :meth:`get` returns, in pieces of any size.

        By default, this calls ``get`` for 8 MiB at a time. Override it if the store can send a response as a stream: a
        process rarely gives back all of the memory that large blocks have taken.

        :raises Missing: As in ``get``, maybe after some pieces.
        """
        while start < stop:
            end = min(start + _STEP, stop)
            write(self.get(key, start, end))
            start = end

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return the content of a small object.

        :raises Missing: There is no such object.
        """

    @abstractmethod
    def head(self, key: str) -> ObjectInfo | None:
        """Return what the store knows about an object, or ``None`` if it does not exist."""

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes, or ``None`` if it does not exist."""
        found = self.head(key)
        return None if found is None else found.size

    @abstractmethod
    def copy(self, key: str, source: str, info: ObjectInfo) -> None:
        """Copy an object of up to ``traits.max_copy`` bytes within the store. This replaces an existing one.

        :param info: The metadata and so on of the copy. Those of the source are not copied. ``properties``, which are
            those of the source, take precedence over what the upload says.
        :raises Missing: The source does not exist.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object if it exists."""

    @abstractmethod
    def objects(self, prefix: str) -> Iterator[ListedObject]:
        """Return all objects whose keys begin with ``prefix``, sorted by key. Fetch them a page at a time."""

    def link(self, key: str, *, seconds: int, content_type: str, content_disposition: str) -> str:
        """Return a URL that lets anybody download an object for ``seconds``.

        Called only if ``traits.signs_links``.

        :param content_type: The ``Content-Type`` of the response; ``content_disposition`` likewise.
        """
        raise NotImplementedError

    # --- multipart uploads ---

    @abstractmethod
    def begin(self, key: str, info: ObjectInfo | None = None) -> str:
        """Start a multipart upload and return its id, which was never used before. The object at ``key`` is unchanged.

        :param info: The metadata, the type and so on of the future object, as for ``put``. ``complete`` gets it, too.
        """

    @abstractmethod
    def put_part(self, key: str, multipart_id: str, number: int, body: bytes | SizedStream) -> str:
        """Write a part atomically. This replaces an existing part with the same number.

        :return: Its tag, which must not begin with ``@``.
        :raises Missing: The multipart upload was completed or aborted. Without ``traits.has_upload_ids``, accept the
            part instead, and list it until it is aborted.
        """

    def copy_part(self, key: str, multipart_id: str, number: int, source: str, start: int, stop: int) -> str:
        """Make a part from an object's bytes from ``start`` up to ``stop``, within the store. See :meth:`put_part`.

        Called only if ``traits.copies_parts``, for ``traits.min_part_copy`` bytes or more.

        :raises Missing: The source does not exist or ends before ``stop``; or as in ``put_part``.
        """
        raise NotImplementedError

    @abstractmethod
    def parts(self, key: str, multipart_id: str) -> dict[int, Part]:
        """Return all parts by number. If a number was used several times, the last part counts.

        :raises Missing: As in ``put_part``. Without ``traits.has_upload_ids``, return no parts instead.
        """

    @abstractmethod
    def complete(self, key: str, multipart_id: str, tags: Sequence[str], info: ObjectInfo | None = None) -> None:
        """Make an object from the parts 1, 2, 3 and so on, which have these tags. This replaces an existing object.

        The multipart upload ends, and all other parts are removed. Without ``traits.has_upload_ids``, parts of other
        multipart uploads of that key may be removed, too.

        :param info: What ``begin`` got, for a store that did not keep it.
        :raises PartsChanged: A part does not exist or has another tag. Nothing has changed.
        :raises PartsRefused: The parts exist, but the store requires others (larger ones, or equal ones). Nothing has
            changed.
        :raises Missing: As in ``put_part``. Without ``traits.has_upload_ids``, raise ``PartsChanged`` instead.
        """

    @abstractmethod
    def abort(self, key: str, multipart_id: str) -> None:
        """Remove a multipart upload and all its parts, if it exists. Never remove the object at ``key``.

        Without ``traits.has_upload_ids``, other parts of that key may be removed, too, unless it has no parts itself.
        """

    @abstractmethod
    def multiparts(self, prefix: str) -> Iterator[ListedMultipart]:
        """Return all multipart uploads whose keys begin with ``prefix``. Fetch them a page at a time.

        Those without parts may be missing if the store keeps nothing about them.
        """
