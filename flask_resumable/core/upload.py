"""What an upload is, and the rules by which it moves.

Everything that decides whether bytes may come, and what state they lead to, is in this file. It knows no protocol, no
database and no disk. Times are timezone-aware UTC and come in as ``now``; sizes are bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from typing import Any
from typing import Self

from ..errors import LengthConflict
from ..errors import OffsetMismatch
from ..errors import TooLarge
from ..errors import UploadClosed
from ..errors import UploadExpired
from . import placement as place
from .answer import Answer
from .checksum import Checksum
from .concat import Concat
from .metadata import UploadMetadata
from .ranges import ByteRanges
from .ranges import ChunkSpan

JSONObject = Mapping[str, Any]

AFTER_USE = timedelta(days=1)  # that a part is kept at most: its client may ask again, or make another file of it
MAX_LENGTH = 2**63 - 1  # bytes; what every database's integer column can hold


class Status(enum.Enum):
    """Where an upload is in its life."""

    NEW = "new"  # on_create has not returned yet
    ACTIVE = "active"  # accepts bytes
    FINISHING = "finishing"  # every byte is here; on_complete has not returned yet
    COMPLETE = "complete"
    DELETING = "deleting"  # to the world it is gone; its bytes may still be there
    GONE = "gone"  # nothing is left but the memory, so that what comes late does not bring it back


# The two waiting states, NEW and FINISHING, exist so that a crash cannot swallow a hook, DELETING so that it cannot
# leave bytes without a record: whoever meets an upload in one of them takes the missing step first.
TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.NEW: frozenset({Status.ACTIVE, Status.DELETING}),
    Status.ACTIVE: frozenset({Status.FINISHING, Status.DELETING}),
    Status.FINISHING: frozenset({Status.COMPLETE, Status.ACTIVE, Status.DELETING}),  # back only if bytes were lost
    Status.COMPLETE: frozenset({Status.DELETING}),
    Status.DELETING: frozenset({Status.GONE}),
    Status.GONE: frozenset(),
}


LEAVING = (Status.DELETING, Status.GONE)  # to the world, it is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One upload as the repository last saved it. Only what has been saved exists."""

    id: str
    length: int | None = None  # None while deferred
    received: ByteRanges = ByteRanges()
    metadata: UploadMetadata = field(default_factory=UploadMetadata)
    concat: Concat | None = None
    owner: str | None = None  # who created it; None: nobody in particular
    client_key: str | None = None  # unique; by which clients find it that name their uploads themselves
    request_key: str | None = None  # unique; by which a creation that is repeated finds it
    status: Status = Status.NEW
    created_at: datetime
    updated_at: datetime | None = None  # when a request last claimed or saved it
    expires_at: datetime | None = None
    awaits_completion: bool = False  # it is not complete until a client says so, even if every byte is here
    answer: Answer | None = None  # what the app had to say when it was completed
    storage: JSONObject = field(default_factory=dict)  # opaque to all but the storage that wrote it
    # Kept by the repository:
    claimed_until: datetime | None = None  # a request holds it until then; None once it has let go
    claimed_by: str | None = None  # the process of that request; see processes.py
    fence: int = 0  # the number of the last claim
    asked: str | None = None  # what another request asks of whoever holds it
    version: int = 0  # grows with every change of the record

    @property
    def offset(self) -> int:
        """How many bytes have been received from the start on, without a gap."""
        return self.received.offset

    @property
    def is_whole(self) -> bool:
        """Whether the length is known and every byte is here."""
        return self.length is not None and self.received.covers(0, self.length)

    @property
    def is_ready(self) -> bool:
        """Whether nothing more can come: every byte is here, and no client has kept it open."""
        return self.length is not None and not self.awaits_completion and self.received.covers(0, self.length)

    @property
    def is_due(self) -> bool:
        """Whether nothing more can come, but a step of the server is missing until it is complete."""
        return self.status is Status.FINISHING or (self.status in (Status.NEW, Status.ACTIVE) and self.is_ready)

    @property
    def is_partial(self) -> bool:
        """Whether it is only a part for a final upload (tus concatenation)."""
        return self.concat is not None and self.concat.is_partial

    @property
    def is_final(self) -> bool:
        """Whether it is made of partial uploads (tus concatenation)."""
        return self.concat is not None and self.concat.is_final

    def is_visible_to(self, owner: str | None) -> bool:
        """Whether ``owner`` may know of it: it is theirs, and not on its way out."""
        return self.owner == owner and self.status not in LEAVING

    def is_claimed(self, now: datetime) -> bool:
        """Whether a request is working on it."""
        return self.claimed_until is not None and self.claimed_until > now

    @property
    def is_released(self) -> bool:
        """Whether the last request has let go of it, with all that it had received saved."""
        return self.claimed_until is None

    @property
    def is_receiving(self) -> bool:
        """Whether a request brings content in, or has died in it."""
        return self.status is Status.ACTIVE and not self.is_released and not self.is_final

    @property
    def can_expire(self) -> bool:
        """Whether time can end it. What is finished never expires; a part is never finished by itself.

        Spec: tus 1.0 "Expiration" is about unfinished uploads only.
        """
        return self.status in (Status.NEW, Status.ACTIVE) or (self.is_partial and self.status is Status.COMPLETE)

    @property
    def removable_at(self) -> datetime | None:
        """From when on the cleaner may remove it; ``None`` if never."""
        if self.status is Status.DELETING:
            return self.created_at
        return self.expires_at if self.can_expire or self.status is Status.GONE else None

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.can_expire and self.expires_at is not None and self.expires_at <= now

    def to(self, status: Status) -> Self:
        """The same upload in the next state."""
        if status not in TRANSITIONS[self.status]:
            raise ValueError(f"An upload cannot go from {self.status.value} to {status.value}.")
        return replace(self, status=status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A client's wish for a new upload."""

    length: int | None
    metadata: UploadMetadata = field(default_factory=UploadMetadata)
    concat: Concat | None = None
    client_key: str | None = None  # what the client will find it by
    idempotency_key: str | None = None  # what the client calls this creation, however often it sends it
    storage: JSONObject = field(default_factory=dict)  # what the storage has to know from the start


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkWrite:
    """A client's wish to put a chunk into an upload, which is created if nobody has done that before."""

    creation: Creation
    span: ChunkSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A client's wish to add content."""

    start: int  # first byte of the content within the upload
    size: int | None  # None when the body's length is not announced
    declares_length: int | None = None
    # Whether the upload is complete with this content, which then ends where the upload does.
    # ``None``: as soon as its length is reached.
    completes: bool | None = None
    checksum: Checksum | None = None
    checksum_in_trailer: bool = False  # the checksum follows the content

    @property
    def is_guarded(self) -> bool:
        """Whether a checksum must hold before any of the content counts."""
        return self.checksum is not None or self.checksum_in_trailer


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the app allows."""

    max_size: int | None = None
    expiration: timedelta | None = None
    sliding: bool = False  # each write moves the expiry forward
    parts_expiration: timedelta | None = None  # how long a part waits for others, if an upload may wait for longer

    def check_length(self, length: int | None) -> None:
        """Refuse a whole upload that is too long.

        :raises TooLarge: ``length`` passes the maximum.
        """
        if length is not None and self.max_size is not None and length > self.max_size:
            raise TooLarge(f"Uploads may have {self.max_size} bytes at most.", self.max_size)

    def expiry(self, upload: Upload, now: datetime) -> datetime | None:
        """When an upload that is touched ``now`` expires.

        A part always does, since no client comes back for one whose final is done. If it is whole, it may have to wait
        for others that go on sliding.
        """
        lifetime = self.expiration
        if upload.is_partial and self.parts_expiration is not None:
            if lifetime is None or (self.sliding and upload.is_whole):
                lifetime = max(lifetime or timedelta(0), self.parts_expiration)
        return None if lifetime is None else now + lifetime

    def slides(self, upload: Upload) -> bool:
        """Whether a write moves the expiry of ``upload``."""
        return self.sliding or (upload.is_partial and self.expiration is None)


def create(upload_id: str, creation: Creation, owner: str | None, limits: Limits, now: datetime) -> Upload:
    """A new upload.

    :raises TooLarge: The declared length passes the maximum.
    """
    limits.check_length(creation.length)
    upload = Upload(
        id=upload_id,
        length=creation.length,
        metadata=creation.metadata,
        concat=creation.concat,
        owner=owner,
        client_key=creation.client_key,
        storage=creation.storage,
        created_at=now,
        updated_at=now,
    )
    return replace(upload, expires_at=limits.expiry(upload, now))


def begin(upload: Upload, write: Write, limits: Limits, now: datetime) -> tuple[Upload, int]:
    """Accept or refuse a write before any of its bytes are read.

    :return: The upload, with its length filled in if ``write`` declares one, and how many bytes may still come.
    :raises UploadExpired: The time to finish has passed.
    :raises UploadClosed: It is a final upload, made of others, or one that comes in chunks (flow.js).
    :raises OffsetMismatch: ``write`` does not start where the upload ends.
    :raises LengthConflict: ``write`` declares a length that is known already, or below the offset; or it completes the
        upload elsewhere than at its length.
    :raises TooLarge: ``write`` would pass the length or ``limits.max_size``.

    Spec: tus 1.0 "PATCH", "Upload-Defer-Length".
    """
    check_alive(upload, now)
    if upload.is_final:
        raise UploadClosed("A final upload is made of others and takes no content.")
    if upload.client_key is not None:
        raise UploadClosed("This upload comes in chunks with a protocol of its own; go on with that.")
    if write.start != upload.offset:
        raise OffsetMismatch(upload.offset, write.start)
    if write.declares_length is not None:
        upload = _declare_length(upload, write.declares_length, limits)
    if write.completes and write.size is not None:
        upload = _end_at(upload, write.start + write.size, limits)
    if upload.awaits_completion is not (write.completes is False):
        upload = replace(upload, awaits_completion=write.completes is False)
    end = upload.length if upload.length is not None else limits.max_size
    room = (MAX_LENGTH if end is None else end) - write.start
    if write.size is not None and write.size > room:
        raise TooLarge(f"The content passes the end of the upload: {room} bytes are missing.", room)
    return upload, room


def _declare_length(upload: Upload, length: int, limits: Limits) -> Upload:
    if upload.length is not None:
        raise LengthConflict("The length of this upload has been declared already; leave Upload-Length out.")
    if length < upload.offset:
        raise LengthConflict(f"The upload already has {upload.offset} bytes; it cannot be {length} bytes long.")
    limits.check_length(length)
    return replace(upload, length=length)


def _end_at(upload: Upload, end: int, limits: Limits) -> Upload:
    """The upload whose last byte is known to be the one before ``end``."""
    if upload.length is None:
        return _declare_length(upload, end, limits)
    if upload.length != end:
        raise LengthConflict(f"The upload is {upload.length} bytes long, and its last content ends at {end}.")
    return upload


def end_here(upload: Upload, write: Write, limits: Limits) -> Upload:
    """The upload after all of a write that ``completes`` it, though nobody knew how long that would be.

    :raises LengthConflict: The upload is longer than this.
    """
    return _end_at(upload, upload.offset, limits) if write.completes else upload


def check_alive(upload: Upload, now: datetime) -> None:
    """Refuse to go on with an upload whose time is over.

    :raises UploadExpired: The time to finish has passed.
    """
    if upload.is_expired(now):
        raise UploadExpired


def advance(upload: Upload, start: int, stop: int, limits: Limits, now: datetime, *, unit: int = 0) -> Upload:
    """The upload with the bytes from ``start`` to ``stop`` in it; see :meth:`ByteRanges.add`."""
    longer = replace(upload, received=upload.received.add(start, stop, unit))
    return replace(longer, expires_at=limits.expiry(longer, now)) if limits.slides(longer) else longer


def used(part: Upload, now: datetime) -> Upload:
    """A part of which a file has been made: it takes its space twice, and not for long."""
    until = now + AFTER_USE
    return part if part.expires_at is not None and part.expires_at <= until else replace(part, expires_at=until)


def with_storage(upload: Upload, stored: JSONObject) -> Upload:
    """The upload with what its storage wants to remember; the place that the app has chosen for it stays."""
    kept = place.keep(upload.storage, stored)
    return upload if kept == upload.storage else replace(upload, storage=kept)


def settle(upload: Upload) -> Upload:
    """The upload in the state that its bytes call for."""
    if upload.status is Status.ACTIVE and upload.is_ready:
        return upload.to(Status.FINISHING)
    return upload


def recede(upload: Upload, offset: int) -> Upload:
    """The upload without the bytes that the storage lost."""
    status = Status.ACTIVE if upload.status is Status.FINISHING else upload.status
    return replace(upload, received=ByteRanges.prefix(min(offset, upload.offset)), status=status)


def assemble(upload: Upload, parts: list[Upload], limits: Limits) -> Upload:
    """A final upload, given its parts: its length as soon as that can be computed.

    :raises TooLarge: The parts together pass the maximum.

    Spec: tus 1.0 "Concatenation".
    """
    lengths = [part.length for part in parts]
    length = sum(known for known in lengths if known is not None)
    limits.check_length(length)
    return upload if None in lengths else replace(upload, length=length)
