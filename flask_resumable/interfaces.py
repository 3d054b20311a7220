"""The seams: what a state repository, a storage and a body must do. One page for authors of backends.

Who checks what: the rules (offsets, lengths, limits, expiry) are checked before any of these is called. A repository
decides races, a storage keeps bytes, and neither needs to know the other.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from typing import BinaryIO
from typing import Protocol

from .sansio.owner import Anybody
from .sansio.upload import JSONObject
from .sansio.upload import Upload


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to change one upload, until a newer claim takes it or it runs out.

    ``fence`` grows with every claim on the upload and is never reused.
    """

    upload_id: str
    fence: int


class StateRepository(Protocol):
    """Keeps the records of uploads.

    Every method is one short transaction of its own; none holds a connection when it returns. When the database cannot
    be reached, each raises :exc:`~flask_resumable.errors.Unavailable` and has changed nothing.
    """

    def add(self, upload: Upload, *, until: datetime | None, by: str | None = None) -> Claim:
        """Insert a record, claimed from birth unless ``until`` is ``None``.

        Raises ``UploadExists`` if the id, the ``key`` or the ``request_key`` is taken. ``by`` is as in ``claim``.
        """
        ...

    def find(self, key: str) -> Upload:
        """Read the record with this key; changes nothing. Raises ``UploadNotFound``."""
        ...

    def find_request(self, request_key: str) -> Upload:
        """Read the record with this ``request_key``; changes nothing. Raises ``UploadNotFound``."""
        ...

    def get(self, upload_id: str) -> Upload:
        """Read a record; changes nothing. Raises ``UploadNotFound``."""
        ...

    def claim(
        self,
        upload_id: str,
        *,
        now: datetime,
        until: datetime,
        known: Upload | None = None,
        by: str | None = None,
        over: int | None = None,
    ) -> tuple[Upload, Claim]:
        """Take the upload, and read it as the last holder saved it; from then on that holder's saves fail.

        A claim that has not run out is respected, unless its fence is ``over``: the caller has asked this holder to
        let go, or knows that it is gone. A holder that has moved the upload on to another status since ``known`` is
        respected all the same. Raises ``UploadNotFound``, ``UploadLocked``. ``known`` is what the caller has
        just read: it may spare reading it once more, and is not believed if it is no longer so. ``by`` names the
        caller's process; it becomes ``Upload.claimed_by``. The upload that is returned shows the claim that was there
        before.
        """
        ...

    def save(self, upload: Upload, claim: Claim, *, until: datetime | None) -> None:
        """Save the record and renew the claim, or give it up (``None``), in one step.

        ``key``, ``request_key``, ``owner``, ``metadata``, ``concat`` and ``created_at`` are as they were added. Raises
        ``ClaimLost`` and then has changed nothing.
        """
        ...

    def amend(
        self, upload_id: str, change: Callable[[Upload], Upload], *, now: datetime, known: Upload | None = None
    ) -> Upload:
        """Save what ``change`` makes of the record, without a claim; the new record. It may take the keys away.

        For requests that work on one upload side by side: ``change`` is called again with what is there by then, until
        its result can be saved. It may refuse by raising, and changes nothing by returning what it got. A claim that
        has run out is lost by this. ``known`` is as in ``claim``. Raises ``UploadNotFound``, and ``UploadLocked`` while
        a claim is alive.
        """
        ...

    def tell(self, upload: Upload) -> bool:
        """Save the received bytes of ``upload`` on behalf of whoever holds it, if the record is as it was read.

        The claim stays as it is. Returns whether the record was still that version.
        """
        ...

    def ask(self, upload: Upload, wish: str) -> None:
        """Leave a wish, of up to 32 letters, for the holder whose claim ``upload`` shows. Not a change of the record.

        The holder's next save or release takes it away, as does the next claim.
        """
        ...

    def asked(self) -> Sequence[tuple[Claim, str]]:
        """All wishes that are waiting, with the claims that they are about."""
        ...

    def renew(self, claim: Claim, *, until: datetime) -> None:
        """Only renew the claim. Raises ``ClaimLost``."""
        ...

    def release(self, claim: Claim) -> None:
        """Give the upload free. A lost claim is no error."""
        ...

    def rehearse_removal(self, upload: Upload, claim: Claim) -> None:
        """Find out whether ``remove`` would be allowed, and change nothing.

        Raises ``RemovalRefused`` if something of the app's refers to the record and may not lose it, ``ClaimLost``.
        """
        ...

    def remove(self, upload: Upload, claim: Claim, hook: Callable[[Any], object] | None = None) -> None:
        """Delete the record, then call ``hook`` with what was the app's own instance.

        Raises ``ClaimLost``, and ``RemovalRefused`` as above; then the record is as it was.
        """
        ...

    def settle(self, upload: Upload, claim: Claim, hook: Callable[[Any], object], *, until: datetime | None) -> None:
        """Call ``hook`` with the app's own instance, then save ``upload``.

        Where the database allows, what the hook wrote in the app's session and the save are one transaction: both
        happen or neither. If the hook raises, neither does, and its exception comes through. Raises ``ClaimLost``.
        The hook may change what is in ``upload.storage``: save that as it is when the hook has returned.
        """
        ...

    def call(self, upload: Upload, hook: Callable[[Any], object]) -> None:
        """Call ``hook`` with the app's own instance; commit what it wrote in the app's session, or roll it back."""
        ...

    def expired(self, now: datetime, *, limit: int, after: Upload | None = None) -> Sequence[Upload]:
        """Up to ``limit`` unclaimed uploads whose ``removable_at`` has come, by that and by id, behind ``after``."""
        ...

    def pending(self, now: datetime, *, limit: int, after: str = "") -> Sequence[Upload]:
        """Up to ``limit`` unclaimed uploads with ids above ``after``, by id, that wait for a step of the server.

        These are the ones in ``FINISHING``, and final uploads in ``ACTIVE``.
        """
        ...

    def list(self, *, status: str | None, limit: int, after: str = "") -> Sequence[Upload]:
        """Up to ``limit`` uploads with ids above ``after``, by id."""
        ...

    def instance(self, upload_id: str) -> Any | None:
        """The app's own instance for a record, such as hooks get, read in the app's own session; ``None``: no record.

        Instances are what the app works with outside of hooks: they live as long as that session.
        """
        ...

    def instances(
        self, *, status: str | None, owner: str | None | Anybody, parts: bool, limit: int, after: str = ""
    ) -> Sequence[Any]:
        """Up to ``limit`` of the app's own instances with ids above ``after``, by id.

        ``status``: ``None`` for all but the uploads on their way out (``deleting``, ``gone``). ``owner``: ``None`` is
        nobody in particular, ``ANYBODY`` is whoever it is. ``parts``: whether partial uploads are wanted too.
        """
        ...

    def awaiting(self, part_id: str) -> Sequence[Upload]:
        """Final uploads in ``ACTIVE`` that list ``part_id``."""
        ...

    def unfinished(self, upload_ids: Sequence[str]) -> set[str]:
        """Those of the ids that may have unfinished bytes: all with a record, but for the published ones."""
        ...

    def let_go(self) -> None:
        """Called before a body is read: hold no connection while bytes flow, not even in the app's session."""
        ...

    def digest(self, upload: Upload, name: str) -> str | None:
        """A remembered digest of exactly the bytes that ``upload`` has."""
        ...

    def remember_digest(self, upload: Upload, name: str, value: str) -> None:
        """Keep a digest for as long as the upload has exactly these bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Piped:
    """A block of content that is in a pipe of the kernel's: its next ``size`` bytes, all of which must be taken out."""

    descriptor: int  # the end to read from
    size: int

    def __len__(self) -> int:
        return self.size


class Writer(Protocol):
    """Takes the content of one write, block by block."""

    def write(self, block: bytes | memoryview, /) -> None:
        """Append to what was written. Raises ``ClaimLost`` once a newer claim has opened this upload for writing."""
        ...

    def flush(self) -> JSONObject:
        """Make all that was written as durable as the settings promise; the new ``Upload.storage``."""
        ...


class Storage(Protocol):
    """Keeps the bytes. ``OSError`` and its like become ``Unavailable`` or ``StorageFull`` in here.

    Where saved bytes turn out to be missing (after a power loss with ``DURABILITY = "none"``, say), ``writer`` and
    ``finish`` raise ``BytesLost`` with the offset up to which they are there.
    """

    def writer(self, upload: Upload, start: int, fence: int) -> AbstractContextManager[Writer]:
        """Open for writing from byte ``start`` on. The first write creates; bytes past the saved ones are garbage."""
        ...

    def finish(self, upload: Upload, fence: int) -> JSONObject:
        """Publish a whole upload, durably, locking all writers out; the new ``Upload.storage``. May be repeated."""
        ...

    def open(self, upload: Upload) -> BinaryIO:
        """The upload's bytes, readable and seekable."""
        ...

    def path(self, upload: Upload) -> Path | None:
        """Where the bytes lie, if they are a file on this machine."""
        ...

    def delete(self, upload: Upload) -> None:
        """Remove every trace of the upload. May be repeated."""
        ...

    def discard_stray(self, upload: Upload) -> None:
        """Remove what a late writer may have left beside a finished or removed upload; never finished bytes."""
        ...

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        """Unfinished bytes last touched before ``older_than``: an upload's id, and how to remove them.

        The callable removes what belongs to that id and returns how many bytes that freed.
        """
        ...


class Incoming(Protocol):
    """The content of a request while it comes in.

    The request's own thread waits; whoever holds the transfer's turn takes. So what has arrived need not wait for the
    thread that waits for more.
    """

    withholds: bool  # this server's reader keeps what it has got until it has more, or the connection ends

    def wait(self) -> None:
        """Wait until there may be more content, for about a second at most where the server allows it.

        Called by the request's own thread only, without holding the turn. It may return without reason.
        """
        ...

    def take(self) -> bytes | memoryview | Piped | None:
        """The next block, without waiting: ``b""`` at the end, ``None`` if nothing is there now.

        The end has come when the body is whole or cut, or nothing was taken for the idle time-out. Any thread may call
        this, one at a time. A block is only valid until the next call. Waiting first saves a call after a short one.
        """
        ...

    def interrupt(self) -> None:
        """Let ``wait`` return soon, where that is safe: called by another thread, which has taken what it wants.

        The connection is not used again then. Does nothing where the server has no plain connection for this request
        alone, and after ``close``.
        """
        ...

    def close(self) -> None:
        """Done, by the request's own thread, in its turn. Before the end, it tells the server not to wait for more."""
        ...


class Body(Protocol):
    """The content of a request, as this WSGI server delivers it."""

    size: int | None  # bytes announced; None when the body only says when it ends

    unseen: int  # how many of the next bytes need not be looked at: they may be left in the kernel, as ``Piped``

    def incoming(self, room: int) -> AbstractContextManager[Incoming]:
        """Begin to read the content, at most ``room`` bytes of it. Leaving the context closes it."""
        ...

    counts_only_whole: bool  # this server's reader can hand out garbage when a body is cut

    @property
    def is_whole(self) -> bool:
        """After the end: whether the body arrived to its proven end."""
        ...

    @property
    def is_overlong(self) -> bool:
        """After the end: whether more than ``room`` bytes were sent."""
        ...

    def trailer(self, name: str) -> str | None:
        """After the end: a trailer field."""
        ...


class Hooks(Protocol):
    """The app's say, by the name of the hook, from ``on_create`` to ``post_delete``."""

    def named(self, name: str) -> Callable[[Any], object] | None:
        """The hook, which takes the app's own instance; ``None`` if there is none. It refuses by ``UploadRejected``."""
        ...

    def observer(self, name: str) -> Callable[[Any], object] | None:
        """Who wants to know that it has happened; ``None`` if nobody does."""
        ...
