"""The upload and its rules.

Everything that decides whether bytes are accepted, and which state they lead to, is in this module. It knows no
protocol, database or disk. The current time is passed as ``now``. All times are aware and in UTC; sizes are in bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace as replace_slots
from datetime import datetime
from datetime import timedelta
from typing import Any
from typing import Self

from ..errors import BeyondLength
from ..errors import LengthConflict
from ..errors import OffsetMismatch
from ..errors import TokenRefused
from ..errors import TooLarge
from ..errors import UploadClosed
from ..errors import UploadCompleted
from ..errors import UploadExpired
from ..errors import UploadNotFound
from . import placement as place
from .answer import Answer
from .checksum import Checksum
from .concat import Concat
from .grant import Grant
from .grant import HEADER
from .grant import PARAMETER
from .ids import name_of
from .metadata import UploadMetadata
from .processing import Processing
from .ranges import ByteRanges
from .ranges import ChunkSpan
from .replacing import replace

JSONObject = Mapping[str, Any]

SLIDE_EVERY = timedelta(minutes=1)  # how long a postponed expiry stays, so that not every write changes an index
AFTER_USE = timedelta(days=1)  # how long a used part is kept: its client may repeat the request or use the part again
MAX_LENGTH = 2**63 - 1  # in bytes; the maximum that the integer column of every database can hold


class Status(enum.Enum):
    """The status of an upload."""

    NEW = "new"  # on_create has not returned yet
    ACTIVE = "active"  # accepts bytes
    FINISHING = "finishing"  # every byte has been received; on_complete has not returned yet
    COMPLETE = "complete"
    DELETING = "deleting"  # not found by clients any more; its bytes may still exist
    GONE = "gone"  # the bytes are removed; the record is kept so that late requests do not bring the upload back


# From each status, those that a save can lead to. ``None`` stands for "no record": an upload begins and ends there.
# NEW and FINISHING exist so that a crash cannot lose a hook, and DELETING so that it cannot leave bytes without a
# record. Any request that finds an upload in one of them completes that step first.
TRANSITIONS: Mapping[Status | None, frozenset[Status | None]] = {
    None: frozenset({Status.NEW, Status.ACTIVE}),  # ACTIVE if the app has no on_create
    Status.NEW: frozenset({Status.ACTIVE, Status.DELETING, Status.GONE, None}),
    Status.ACTIVE: frozenset({Status.FINISHING, Status.DELETING}),
    Status.FINISHING: frozenset({Status.COMPLETE, Status.ACTIVE, Status.DELETING}),  # ACTIVE only if bytes were lost
    Status.COMPLETE: frozenset({Status.DELETING}),
    Status.DELETING: frozenset({Status.GONE, None}),
    Status.GONE: frozenset({None}),
}


LEAVING = (Status.DELETING, Status.GONE)  # not found by clients any more


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An upload as it was last saved in the repository. What has not been saved does not exist."""

    id: str
    length: int | None = None  # None until the client declares it
    received: ByteRanges = ByteRanges()
    metadata: UploadMetadata = field(default_factory=UploadMetadata)
    concat: Concat | None = None
    owner: str | None = None  # None if it has no owner
    protocol: str | None = None  # the name of the protocol that created it
    client_key: str | None = None  # unique; finds the upload for clients that choose their own identifier
    request_key: str | None = None  # unique; finds the upload for a creation that is sent again
    # When the token expires that created the upload. Until then, request_key stays taken, even if it is removed.
    signed_until: datetime | None = None
    status: Status = Status.NEW
    created_at: datetime
    updated_at: datetime | None = None  # when a request last claimed or saved it
    expires_at: datetime | None = None
    max_size: int | None = None  # the app's limit for this upload, besides the one for all uploads
    # How many bytes it takes of its owner's quota. None if that does not apply, or the upload is complete.
    reserved: int | None = None
    awaits_completion: bool = False  # not complete until a client says so, even if every byte has been received
    answer: Answer | None = None  # what on_complete returned
    processing: Processing | None = None  # what the app says about its processing; only mark() changes it
    request_count: int = 0  # how many requests have added content
    storage: JSONObject = field(default_factory=dict)  # only the storage that wrote it understands it
    # Maintained by the repository:
    claimed_until: datetime | None = None  # when the claim of a request expires; None after its release
    claimed_by: str | None = None  # the process of that request; see processes.py
    fence: int = 0  # the number of the latest claim
    claim_message: str | None = None  # a message from another request to the holder of the claim
    version: int = 0  # increases with every change of the record

    @property
    def offset(self) -> int:
        """The number of bytes received from the start, without a gap."""
        return self.received.offset

    @property
    def stored_as(self) -> str:
        """The name of the bytes. No two uploads ever have the same, even if they have the same id.

        It is the id, unless the app chose that.
        """
        return self.id if place.KEY not in self.storage else place.name_in(self.storage) or self.id

    def is_same(self, other: Upload) -> bool:
        """Whether ``other`` is this upload, and not one that was given the same id after this one was removed."""
        is_random = place.KEY not in self.storage and place.KEY not in other.storage
        return self.id == other.id if is_random else self.stored_as == other.stored_as

    @property
    def is_whole(self) -> bool:
        """Whether the length is known and every byte has been received."""
        return self.length is not None and self.received.covers(0, self.length)

    @property
    def is_ready(self) -> bool:
        """Whether every byte has been received, and no client has said that more will follow."""
        return self.length is not None and not self.awaits_completion and self.received.covers(0, self.length)

    @property
    def is_pending(self) -> bool:
        """Whether every byte has been received, but the server still has to complete the upload."""
        return self.status is Status.FINISHING or (self.status in (Status.NEW, Status.ACTIVE) and self.is_ready)

    @property
    def is_partial(self) -> bool:
        """Whether this is a partial upload (tus concatenation)."""
        return self.concat is not None and self.concat.is_partial

    @property
    def is_final(self) -> bool:
        """Whether this is a final upload, made of partial ones (tus concatenation)."""
        return self.concat is not None and self.concat.is_final

    def is_visible_to(self, owner: str | None) -> bool:
        """Whether requests of ``owner`` can find the upload: it is theirs, and it is not being removed."""
        return self.owner == owner and self.status not in LEAVING

    def is_claimed(self, now: datetime) -> bool:
        """Whether a request is working on the upload."""
        return self.claimed_until is not None and self.claimed_until > now

    @property
    def is_released(self) -> bool:
        """Whether the last request has released its claim, and so has saved everything that it received."""
        return self.claimed_until is None

    @property
    def is_receiving(self) -> bool:
        """Whether a request is receiving content, or crashed while it did."""
        return self.status is Status.ACTIVE and not self.is_released and not self.is_final

    def is_free(self, owner: str | None, now: datetime) -> bool:
        """Whether a request of ``owner`` can claim the upload and write to it, without any step before."""
        is_idle = self.status is Status.ACTIVE and self.is_released
        return is_idle and self.owner == owner and not self.is_expired(now)

    @property
    def can_expire(self) -> bool:
        """Whether the upload can expire. Complete uploads do not, except partial ones, which only wait for a final one.

        Spec: tus 1.0 "Expiration" covers unfinished uploads only.
        """
        return self.status in (Status.NEW, Status.ACTIVE) or (self.is_partial and self.status is Status.COMPLETE)

    @property
    def removable_at(self) -> datetime | None:
        """When the cleaner may remove the upload, or ``None`` for never."""
        if self.status is Status.DELETING:
            return self.created_at
        return self.expires_at if self.can_expire or self.status is Status.GONE else None

    def is_expired(self, now: datetime) -> bool:
        """Whether the upload has expired."""
        return self.can_expire and self.expires_at is not None and self.expires_at <= now

    def with_status(self, status: Status) -> Self:
        """Return the upload with another status. Raises ``ValueError`` if that status cannot follow."""
        if status not in TRANSITIONS[self.status]:
            raise ValueError(f"An upload cannot go from {self.status.value} to {status.value}.")
        return replace(self, status=status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A client's request to create an upload."""

    length: int | None
    metadata: UploadMetadata = field(default_factory=UploadMetadata)
    concat: Concat | None = None
    client_key: str | None = None  # the identifier that the client will find the upload by
    idempotency_key: str | None = None  # the same in all repetitions of this request
    awaits_completion: bool = False  # whether content must say that it is the last; see Write.completes
    protocol: str | None = None  # the name of the protocol
    grant: Grant | None = None  # what the token of the request allows, if it has one
    storage: JSONObject = field(default_factory=dict)  # what the storage needs to know from the start


def granted(creation: Creation) -> Creation:
    """Return a creation with the metadata of its token.

    :raises TokenRefused: The token is for another kind of upload.
    """
    grant = creation.grant
    if grant is None:
        return creation
    if creation.concat is not None:
        raise TokenRefused("An upload token is for one upload without parts; turn off parallel uploads.")
    if grant.length not in (None, creation.length):
        declared = "one of unknown length" if creation.length is None else f"{creation.length} bytes"
        raise TokenRefused(f"This upload token is for an upload of {grant.length} bytes, not for {declared}.")
    return replace_slots(creation, metadata=creation.metadata.with_values(grant.metadata))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkWrite:
    """What a client wants to write: a chunk of an upload, which is created if it does not exist."""

    creation: Creation
    span: ChunkSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A client's request to add content."""

    start: int  # the position of the first byte in the upload
    size: int | None  # in bytes; None if the request does not announce it
    declares_length: int | None = None
    # True if the upload is complete after this content, False if more will follow.
    # None if it is complete when its length is reached.
    completes: bool | None = None
    checksum: Checksum | None = None
    checksum_in_trailer: bool = False  # the checksum is sent after the content
    may_repeat_length: bool = False  # whether declares_length may be what is known already
    at_most: int | None = None  # how many bytes a request may have
    is_fatal_beyond_length: bool = False  # whether the upload is removed if the content goes beyond its length

    @property
    def is_guarded(self) -> bool:
        """Whether the content counts only if it matches a checksum."""
        return self.checksum is not None or self.checksum_in_trailer


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that the app sets for uploads."""

    max_size: int | None = None
    expiration: timedelta | None = None
    sliding: bool = False  # whether each write postpones the expiry; read it only in slides()
    requires_token: bool = False  # whether uploads can be created only with a signed token
    parts_expiration: timedelta | None = None  # the lifetime of a part whose final upload may wait longer for others

    def check_length(self, length: int | None, upload: Upload | None = None) -> None:
        """Refuse a total length that exceeds the maximum of all uploads, or of ``upload``.

        :raises TooLarge: ``length`` exceeds the maximum.
        """
        limit = self.max_size if upload is None else self.max_size_of(upload)
        if length is not None and limit is not None and length > limit:
            which = "Uploads" if limit == self.max_size else "This upload"
            raise TooLarge(f"{which} may have at most {limit} bytes.", limit)

    def max_size_of(self, upload: Upload) -> int | None:
        """Return the maximum size of an upload: the smaller one of that of all uploads and its own."""
        if upload.max_size is None or self.max_size is None:
            return self.max_size if upload.max_size is None else upload.max_size
        return min(upload.max_size, self.max_size)

    def expiry(self, upload: Upload, now: datetime) -> datetime | None:
        """Return when an upload expires that a request works on at ``now``.

        Partial uploads always expire, because no client returns to a part once the final upload exists. A completely
        received one may have to wait for others, whose expiry is postponed while they receive content.
        """
        lifetime = self.expiration
        if upload.is_partial and self.parts_expiration is not None:
            if lifetime is None or (self.slides(upload) and upload.is_whole):
                lifetime = max(lifetime or timedelta(0), self.parts_expiration)
        return None if lifetime is None else now + lifetime

    def slides(self, upload: Upload) -> bool:
        """Whether a write postpones the expiry of ``upload``."""
        return self.sliding or (upload.is_partial and self.expiration is None)


def create(upload_id: str, creation: Creation, owner: str | None, limits: Limits, now: datetime) -> Upload:
    """Return a new upload.

    :raises TooLarge: The declared length exceeds the maximum.
    :raises TokenRefused: The token of the request has expired, or there is none, although one is required.
    """
    grant = creation.grant
    if grant is None and limits.requires_token:
        raise TokenRefused(f"This server needs an upload token: send it in {HEADER}, or as {PARAMETER} in the query.")
    if grant is not None and grant.expires_at <= now:
        raise TokenRefused(f"This upload token expired at {grant.expires_at:%Y-%m-%d %H:%M:%S} UTC; get a new one.")
    upload = Upload(
        id=upload_id,
        length=creation.length,
        metadata=creation.metadata,
        concat=creation.concat,
        owner=owner,
        client_key=creation.client_key,
        max_size=None if grant is None else grant.max_size,
        signed_until=None if grant is None else grant.expires_at,
        awaits_completion=creation.awaits_completion,
        protocol=creation.protocol,
        storage=creation.storage,
        created_at=now,
        updated_at=now,
    )
    limits.check_length(upload.length, upload)
    if upload.is_final:  # the lengths of its parts may become known later
        upload = replace(upload, max_size=limits.max_size)
    return replace(upload, expires_at=limits.expiry(upload, now))


def with_chosen_id(upload: Upload, chosen: str) -> Upload:
    """Return a new upload with the id that the app chose.

    A removed upload may have had the same id. So that none of its requests can take the new upload for it, neither the
    name of the bytes nor the numbers of claims and versions are ever the same.
    """
    number = int(upload.id[:15], 16)  # far from those of any other upload, and far from the largest one
    named = place.with_name(upload.storage, name_of(chosen, upload.id))
    return replace(upload, id=chosen, storage=named, fence=number, version=number)


def only_for(upload: Upload, change: Callable[[Upload], Upload]) -> Callable[[Upload], Upload]:
    """Return ``change`` for a record that was found by the id of ``upload``, but only if it is that upload's.

    What it returns raises :exc:`UploadNotFound` if the record belongs to an upload that was given the id later.
    """

    def checked(current: Upload) -> Upload:
        if not current.is_same(upload):
            raise UploadNotFound(upload.id)
        return change(current)

    return checked


def limit_size(upload: Upload, max_size: object) -> Upload:
    """Return a new upload with the maximum size that the app has set for it, unless it already has a smaller one.

    :raises ValueError: ``max_size`` is not a number of bytes.
    :raises TooLarge: The upload has been declared to be larger.
    """
    if max_size is not None:
        if isinstance(max_size, bool) or not isinstance(max_size, int) or not 0 <= max_size <= MAX_LENGTH:
            raise ValueError(f"upload.max_size = {max_size!r}: must be an integer from 0 to {MAX_LENGTH}, or None.")
        if upload.max_size is not None:
            max_size = min(max_size, upload.max_size)
    limited = replace(upload, max_size=upload.max_size if max_size is None else max_size)
    Limits().check_length(limited.length, limited)
    return limited


def begin(upload: Upload, write: Write, limits: Limits, now: datetime) -> tuple[Upload, int]:
    """Accept or refuse a write before any of its bytes are read.

    :return: The upload, with its length if ``write`` declares one, and how many bytes it may still receive.
    :raises UploadExpired: The upload has expired.
    :raises UploadClosed: It is a final upload, or one that is sent in chunks (flow.js).
    :raises OffsetMismatch: ``write`` does not start at the upload's offset.
    :raises UploadCompleted: The upload is complete, and ``write`` has more content or says that more will follow. If a
        protocol knows only lengths, this is :exc:`BeyondLength`.
    :raises LengthConflict: ``write`` declares a length that is already known or smaller than the offset, or it
        completes the upload at another length.
    :raises BeyondLength: ``write`` exceeds the upload's length.
    :raises TooLarge: ``write`` exceeds the upload's maximum size or its own.

    Spec: tus 1.0 "PATCH", "Upload-Defer-Length".
    """
    check_alive(upload, now)
    if upload.is_final:
        raise UploadClosed("This upload was concatenated from others and accepts no content.")
    if upload.client_key is not None:
        raise UploadClosed("This upload is sent in chunks; continue with the protocol it was started with.")
    if write.start != upload.offset:
        raise OffsetMismatch(upload.offset, write.start)
    if upload.status is Status.COMPLETE and (write.completes is False or (write.completes and write.size)):
        raise UploadCompleted
    if write.declares_length is not None:
        if not write.may_repeat_length or upload.length != write.declares_length:
            upload = _declare_length(upload, write.declares_length, limits)
    if write.completes and write.size is not None:
        upload = _end_at(upload, write.start + write.size, limits)
    if upload.awaits_completion is not (write.completes is False):
        upload = replace(upload, awaits_completion=write.completes is False)
    end = upload.length if upload.length is not None else limits.max_size_of(upload)
    room = max(0, (MAX_LENGTH if end is None else end) - write.start)
    if write.size is not None and write.size > room:
        raise _too_large(upload, f"The body exceeds the {room} bytes remaining in this upload.", room)
    if write.at_most is not None:
        if write.size is not None and write.size > write.at_most:
            raise TooLarge(f"A request may have at most {write.at_most} bytes.", write.at_most)
        room = min(room, write.at_most)
    return upload, room


def overlong(upload: Upload, write: Write, room: int) -> TooLarge:
    """Return the error for a body that had more bytes than ``room``."""
    if room == write.at_most:
        return TooLarge(f"A request may have at most {room} bytes.", room)
    return _too_large(upload, f"The body exceeds the end of this upload, which is at {write.start + room} bytes.", room)


def _too_large(upload: Upload, message: str, room: int) -> TooLarge:
    return TooLarge(message, room) if upload.length is None else BeyondLength(message, room)


def _declare_length(upload: Upload, length: int, limits: Limits) -> Upload:
    if upload.length is not None:
        raise LengthConflict(f"This upload has been declared to have {upload.length} bytes; leave out Upload-Length.")
    if length < upload.offset:
        raise LengthConflict(f"The upload already has {upload.offset} bytes; its length cannot be {length}.")
    limits.check_length(length, upload)
    return replace(upload, length=length, reserved=None if upload.reserved is None else length)


def _end_at(upload: Upload, end: int, limits: Limits) -> Upload:
    """Return the upload with its length, which is now known to be ``end``."""
    if upload.length is None:
        return _declare_length(upload, end, limits)
    if upload.length != end:
        raise LengthConflict(f"The upload is {upload.length} bytes long, but the content marked as last ends at {end}.")
    return upload


def end_here(upload: Upload, write: Write, limits: Limits) -> Upload:
    """Return the upload after a complete write, whose end is the upload's end if the write ``completes`` it.

    :raises LengthConflict: The upload is longer than that.
    """
    return _end_at(upload, upload.offset, limits) if write.completes else upload


def check_alive(upload: Upload, now: datetime) -> None:
    """Refuse an upload that has expired.

    :raises UploadExpired: The upload has expired.
    """
    if upload.is_expired(now):
        raise UploadExpired


def advance(
    upload: Upload, start: int, stop: int, limits: Limits, now: datetime, *, unit: int = 0, requests: int = 0
) -> Upload:
    """Return the upload with the bytes from ``start`` to ``stop`` received; see :meth:`ByteRanges.add`.

    :param requests: How many requests these bytes add to ``request_count``.
    """
    received, count = upload.received.add(start, stop, unit), upload.request_count + requests
    return postpone(replace(upload, received=received, request_count=count), limits, now)


def postpone(upload: Upload, limits: Limits, now: datetime) -> Upload:
    """Return an upload for which content is arriving. If its expiry slides, it is postponed."""
    if not limits.slides(upload):
        return upload
    until = limits.expiry(upload, now)
    if until is not None and upload.expires_at is not None:
        if timedelta(0) <= until - upload.expires_at < min(SLIDE_EVERY, (until - now) / 100):
            return upload
    return upload if until == upload.expires_at else replace(upload, expires_at=until)


def expire_soon(part: Upload, now: datetime) -> Upload:
    """Return a part that a final upload was made of. It expires soon, since its bytes are now stored twice."""
    until = now + AFTER_USE
    if part.expires_at is not None and part.expires_at <= until:
        return part if part.reserved is None else replace(part, reserved=None)
    return replace(part, expires_at=until, reserved=None)


def with_storage(upload: Upload, stored: JSONObject) -> Upload:
    """Return the upload with new data of its storage. The place that the app chose stays."""
    kept = place.keep(upload.storage, stored)
    return upload if kept == upload.storage else replace(upload, storage=kept)


def finish_if_ready(upload: Upload) -> Upload:
    """Return the upload with the status that follows from its bytes."""
    if upload.status is Status.ACTIVE and upload.is_ready:
        return upload.with_status(Status.FINISHING)
    return upload


def completed(upload: Upload) -> Upload:
    """Return the upload when it is complete. It takes nothing of its owner's quota any more, unless it is a part."""
    done = upload.with_status(Status.COMPLETE)
    return done if upload.reserved is None or upload.is_partial else replace(done, reserved=None)


def with_less_reserved(upload: Upload) -> Upload:
    """Return an upload of unknown length that reserves no more than the maximum size that ``on_create`` has set."""
    if upload.reserved is None or upload.length is not None or upload.max_size is None:
        return upload
    return upload if upload.reserved <= upload.max_size else replace(upload, reserved=upload.max_size)


def truncated(upload: Upload, offset: int) -> Upload:
    """Return the upload without the bytes that the storage lost."""
    back = upload.with_status(Status.ACTIVE) if upload.status is Status.FINISHING else upload
    return replace(back, received=ByteRanges.prefix(min(offset, upload.offset)))


def assemble(upload: Upload, parts: list[Upload], limits: Limits) -> Upload:
    """Return a final upload with its length, as soon as the lengths of all its parts are known.

    :raises TooLarge: The parts together exceed the maximum.

    Spec: tus 1.0 "Concatenation".
    """
    lengths = [part.length for part in parts]
    length = sum(known for known in lengths if known is not None)
    limits.check_length(length, upload)
    return upload if None in lengths else replace(upload, length=length)
