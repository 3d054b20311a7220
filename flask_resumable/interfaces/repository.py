"""What keeps the records of uploads."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from typing import Protocol

from ..core.answer import Answer
from ..core.processing import Processing
from ..core.quota import Quota
from ..core.selection import ALL
from ..core.selection import Selection
from ..core.upload import Upload
from .capabilities import RepositoryCapabilities


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to change one upload, until it expires or a newer claim replaces it.

    ``fence`` increases with every claim on the upload and is never reused.
    """

    upload_id: str  #: the upload that it is for
    fence: int  #: the number of the claim


class StateRepository(Protocol):
    """Keeps the records of uploads.

    Every method is a short transaction of its own and holds no connection when it returns. If the database cannot be
    reached, it raises :exc:`~flask_resumable.errors.Unavailable` and changes nothing.
    """

    capabilities: RepositoryCapabilities

    def add(self, upload: Upload, *, until: datetime | None, by: str | None = None) -> Claim:
        """Insert a record, and claim it unless ``until`` is ``None``.

        The first fence and the first version are greater by one than those of ``upload``.

        :param until: When the claim expires.
        :param by: See :meth:`claim`.
        :raises UploadExists: The id or one of the keys is taken.
        """
        ...

    def add_within(
        self, upload: Upload, quota: Quota, *, now: datetime, until: datetime | None, by: str | None = None
    ) -> tuple[Upload, Claim]:
        """Do the same as :meth:`add`, if the owner's quota has room for the upload.

        What it must have room for is what :func:`~flask_resumable.core.quota.reserve` says. All requests of an owner
        do this one after another, in whichever process, so that together they never exceed the quota. Only apps that
        set quotas call this.

        :return: The upload as it was inserted, with what it has reserved.
        :raises UploadExists: The id or one of the keys is taken, whether or not there is room.
        :raises QuotaExceeded: There is no room; nothing was inserted.
        :raises TooLarge: There will never be room; nothing was inserted.
        """
        ...

    def find(self, key: str) -> Upload:
        """Return the upload with this ``client_key``. Raises ``UploadNotFound``."""
        ...

    def find_request(self, request_key: str) -> Upload:
        """Return the upload with this ``request_key``. Raises ``UploadNotFound``."""
        ...

    def get(self, upload_id: str) -> Upload:
        """Return the upload with this id. Raises ``UploadNotFound``."""
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
        """Claim the upload, and return it as the last holder saved it. From then on, saves of that holder fail.

        The upload that is returned still shows the previous claim.

        :param until: When the claim expires.
        :param known: The upload as the caller has just read it, which may save a query. It is ignored if it is out of
            date.
        :param by: The name of the caller's process, which becomes ``Upload.claimed_by``.
        :param over: The fence of a living claim that may be replaced, because its holder was asked to let go or is
            known to be gone. It is respected all the same if it has changed the status of the upload since ``known``.
        :raises UploadNotFound: There is no such upload.
        :raises UploadLocked: Another claim has not expired yet.
        """
        ...

    def claim_free(
        self, upload_id: str, *, owner: str | None, now: datetime, until: datetime, by: str | None = None
    ) -> tuple[Upload, Claim] | None:
        """Claim an upload that can be written to at once, in one step with reading it.

        That is an upload in the status ``ACTIVE`` that belongs to ``owner``, has not expired and whose last claim was
        released. The upload that is returned shows the new claim. For any other upload, and where the database cannot
        do this in one step, return ``None`` and change nothing. The caller then reads the record and calls
        :meth:`claim`.
        """
        ...

    def save(self, upload: Upload, claim: Claim, *, until: datetime | None) -> None:
        """Save the record, and renew the claim or release it (``None``), in one step.

        Both keys, ``signed_until``, ``owner``, ``metadata``, ``concat`` and ``created_at`` never change.

        :raises ClaimLost: A newer claim was made; nothing was changed.
        """
        ...

    def amend(
        self, upload_id: str, change: Callable[[Upload], Upload], *, now: datetime, known: Upload | None = None
    ) -> Upload:
        """Apply ``change`` to the record without a claim, and return the new record.

        For requests that work on one upload in parallel. If another request saves first, ``change`` is called again
        with the new record. It may raise to refuse, or return its argument to change nothing, and it may remove the
        keys. An expired claim is lost by this.

        :param known: See :meth:`claim`.
        :raises UploadNotFound: There is no such upload.
        :raises UploadLocked: A claim has not expired yet.
        """
        ...

    def save_progress(self, upload: Upload) -> bool:
        """Save the received bytes of ``upload`` on behalf of its holder, whose claim stays as it is.

        :return: Whether they were saved. They are not if the record has changed since ``upload`` was read.
        """
        ...

    def leave_message(self, upload: Upload, message: str) -> None:
        """Leave a message of up to 32 letters for the holder whose claim ``upload`` shows.

        This does not change the version of the record. The holder's next save or release clears the message, and so
        does the next claim.
        """
        ...

    def messages(self) -> Sequence[tuple[Claim, str]]:
        """Return all pending messages, with the claims they are for."""
        ...

    def renew(self, claim: Claim, *, until: datetime) -> None:
        """Extend the claim without saving anything.

        Another thread renews claims, so this may come just after the claim was released. It must not claim again then.

        :raises ClaimLost: A newer claim was made, or the claim was released.
        """
        ...

    def release(self, claim: Claim) -> None:
        """Release the claim. Does nothing if it is lost."""
        ...

    def rehearse_removal(self, upload: Upload, claim: Claim) -> None:
        """Check that ``remove`` would succeed, without changing anything.

        :raises RemovalRefused: Something in the app's database refers to the record and forbids its removal.
        :raises ClaimLost: A newer claim was made.
        """
        ...

    def remove(self, upload: Upload, claim: Claim, hook: Callable[[Any], object] | None = None) -> None:
        """Delete the record, then call ``hook`` with what was the app's own instance.

        :raises RemovalRefused: Something in the app's database refers to the record; it is unchanged.
        :raises ClaimLost: A newer claim was made; the record is unchanged.
        """
        ...

    def save_with_hook(
        self, upload: Upload, claim: Claim, hook: Callable[[Any], Answer | None], *, until: datetime | None
    ) -> Upload:
        """Call ``hook`` with the app's own instance, then save ``upload`` along with the answer that it returned.

        If the database supports it, the save and what the hook wrote in the app's session are committed in one
        transaction. If the hook raises, both are rolled back, and the exception propagates. The hook may change
        ``upload.storage``, and ``max_size`` of the instance: save both as they are after the hook. It may also mark the
        upload: call it within :func:`~flask_resumable.core.processing.collecting_mark`, and save and return the mark as
        well, unless the record has another one than ``upload`` by now.

        :raises ClaimLost: A newer claim was made.
        """
        ...

    def call(self, upload: Upload, hook: Callable[[Any], object]) -> None:
        """Call ``hook`` with the app's own instance. Commit what it wrote in the app's session; roll back on errors.

        A mark is treated as in :meth:`save_with_hook`.
        """
        ...

    def mark(self, upload_id: str, processing: Processing) -> bool:
        """Save what the app says about its processing. This needs no claim, and saves of the upload leave it alone.

        :return: Whether there is such an upload.
        """
        ...

    def expired(self, now: datetime, *, limit: int, after: Upload | None = None) -> Sequence[Upload]:
        """Return up to ``limit`` uploads whose ``removable_at`` has passed, whether they are claimed or not.

        They are sorted by that time and by id, and come after ``after``.
        """
        ...

    def pending(self, *, limit: int, after: str = "") -> Sequence[Upload]:
        """Return up to ``limit`` uploads that wait for the server to complete them, whether they are claimed or not.

        These are uploads in ``FINISHING`` and final uploads in ``ACTIVE``. They are sorted by id, greater than
        ``after``.
        """
        ...

    def list(self, selection: Selection = ALL, *, limit: int, after: str = "") -> Sequence[Upload]:
        """Return up to ``limit`` of the selected uploads, sorted by id, with ids greater than ``after``."""
        ...

    def instance(self, upload_id: str) -> Any | None:
        """Return the app's own instance of a record, as hooks get it, or ``None`` if there is no such record.

        It is loaded in the app's own session and lives as long as that session.
        """
        ...

    def instances(self, selection: Selection, *, limit: int, after: str = "") -> Sequence[Any]:
        """Return what :meth:`list` returns as the app's own instances; see :meth:`instance`."""
        ...

    def awaiting(self, part_id: str) -> Sequence[Upload]:
        """Return the final uploads in ``ACTIVE`` that list ``part_id``."""
        ...

    def ids_with_unfinished_bytes(self, upload_ids: Sequence[str]) -> set[str]:
        """Return those ids whose uploads may have unfinished bytes: they have a record and are not published."""
        ...

    def release_connection(self) -> None:
        """Return all connections to the pool, even the one of the app's session. Called before a body is read."""
        ...

    def digest(self, upload: Upload, name: str) -> str | None:
        """Return a remembered digest of exactly the bytes that ``upload`` has, or ``None``."""
        ...

    def remember_digest(self, upload: Upload, name: str, value: str) -> None:
        """Remember a digest for as long as the upload has exactly these bytes."""
        ...
