"""What keeps the records of uploads."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from typing import Protocol

from ..core.answer import Answer
from ..core.owner import Anybody
from ..core.upload import Upload


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

        Raises ``UploadExists`` if the id or one of the keys is taken. ``by`` is as in ``claim``.
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

        Both keys, ``owner``, ``metadata``, ``concat`` and ``created_at`` are as they were added. Raises ``ClaimLost``
        and then has changed nothing.
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
        """Release the claim. A lost claim is not an error."""
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

    def settle(
        self, upload: Upload, claim: Claim, hook: Callable[[Any], Answer | None], *, until: datetime | None
    ) -> Upload:
        """Call ``hook`` with the app's own instance, then save ``upload`` with the answer that it returned.

        Where the database allows, what the hook wrote in the app's session and the save are one transaction: both
        happen or neither. If the hook raises, neither does, and its exception comes through. Raises ``ClaimLost``.
        The hook may change what is in ``upload.storage``: save that as it is when the hook has returned.
        """
        ...

    def call(self, upload: Upload, hook: Callable[[Any], object]) -> None:
        """Call ``hook`` with the app's own instance; commit what it wrote in the app's session, or roll it back."""
        ...

    def expired(self, now: datetime, *, limit: int, after: Upload | None = None) -> Sequence[Upload]:
        """Up to ``limit`` unclaimed uploads whose ``removable_at`` has come, by that and by id, after ``after``."""
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
