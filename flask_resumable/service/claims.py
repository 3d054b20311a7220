"""Claims: the right of a request to change an upload, and how it is taken, renewed and released."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from functools import partial
from typing import Any
from typing import Protocol

from ..core.answer import Answer
from ..core.quota import Quota
from ..core.ranges import ByteRanges
from ..core.replacing import replace
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import ClaimLost
from ..errors import Unavailable
from ..errors import UploadLocked
from ..errors import UploadNotFound
from ..interfaces import Claim
from ..interfaces import StateRepository
from ..interfaces import Storage
from ..interfaces.observer import Observer
from ..processes import is_dead
from ..processes import is_here
from ..processes import ProcessName

Clock = Callable[[], datetime]

# While content arrives, the record is rarely saved, so the claim must last longer. Any request may take it over.
RECEIVING = 15  # leases
# How long to respect an expired claim whose process is alive: a hook may keep its other threads from running.
STUCK = 4  # leases
_PATIENCE = 0.25  # seconds to wait for another process that may be dying or about to release its claim
_POLL = 0.01  # seconds
_BEGIN = 0.002  # seconds


class Transfer(Protocol):
    """The transfer of content into a claimed upload, as other requests see it."""

    @property
    def is_withheld(self) -> bool:
        """Whether the server may hold back content that has arrived until there is more, or the connection ends."""
        ...

    def show(self, patience: float, *, answer: bool = False) -> Upload | None:
        """Save what has arrived, and carry on.

        :param patience: How many seconds to wait for a block that is being stored.
        :param answer: Whether to save even if nothing is new, so that the request that waits sees a new version.
        :return: The saved upload, or ``None`` if the transfer has ended and will save its result in a moment.
        """
        ...

    def leave(self, patience: float, *, at: int | None) -> Upload | None:
        """Save what has arrived, and release the upload.

        :param patience: How many seconds to wait for a block that is being stored.
        :param at: The offset from which the newer request continues. If the transfer has reached another offset, the
            newer request is too late, and the transfer carries on. ``None`` releases the upload in any case.
        :return: The saved upload, or ``None`` if the transfer has ended or did not respond in time.
        """
        ...

    def stop(self) -> None:
        """End the transfer soon, because the server stops; the request itself saves what has arrived."""
        ...


class ClaimedUpload:
    """A claimed upload, which this request may change until a newer request takes it over."""

    upload: Upload  # as last saved
    claim: Claim

    def __init__(self, repository: StateRepository, *, lease: timedelta, now: Clock, is_receiving: bool) -> None:
        self.is_receiving = is_receiving  # while it is, the claim lasts longer
        self.transfer: Transfer | None = None
        self.ended = threading.Event()
        self._repository = repository
        self._lease = lease
        self._now = now
        self._is_released = False
        self._renew_at = now()
        self._claimed_until: datetime | None = None

    def begin(self, upload: Upload, claim: Claim, *, is_released: bool) -> None:
        """Start to hold an upload with this claim. ``upload`` may still show the previous one."""
        self.upload = upload
        self.claim = claim
        self._is_released = is_released

    def show(self, by: str) -> None:
        """Let ``upload`` show this claim, for hooks."""
        until, version = self._claimed_until, self.upload.version + 1
        self.upload = replace(
            self.upload, claimed_until=until, claimed_by=by, fence=self.claim.fence, claim_message=None, version=version
        )

    def claim_until(self) -> datetime:
        """Return when a claim expires that is made or renewed now."""
        now = self._now()
        lease = self._lease * (RECEIVING if self.is_receiving else 1)
        self._renew_at = now + lease / 3
        self._claimed_until = now + lease
        return self._claimed_until

    @property
    def is_due(self) -> bool:
        """Whether the claim should be renewed."""
        return self._now() >= self._renew_at

    def await_begin(self, patience: float) -> None:
        """Wait until this request has started to read its content, if it has any."""
        deadline = time.monotonic() + patience
        while self.is_receiving and self.transfer is None and not self.ended.is_set() and time.monotonic() < deadline:
            time.sleep(_BEGIN)

    def save(self, upload: Upload, *, last: bool = False) -> None:
        """Save the record, and renew the claim or release it with the ``last`` save.

        :raises ClaimLost: A newer request has taken over.
        """
        until = None if last else self.claim_until()
        upload = replace(upload, updated_at=self._now(), claimed_until=until)
        self._repository.save(upload, self.claim, until=until)
        self.upload = upload
        self._is_released = last

    def save_with_hook(self, upload: Upload, hook: Callable[[Any], Answer | None], *, last: bool = False) -> None:
        """Save the record together with what ``hook`` writes, or neither.

        :raises ClaimLost: A newer request has taken over.
        """
        upload = replace(upload, updated_at=self._now())
        until = None if last else self.claim_until()
        saved = self._repository.save_with_hook(upload, self.claim, hook, until=until)
        self.upload = replace(saved, claimed_until=until)
        self._is_released = last

    def release(self) -> None:
        """Release the claim, unless the last save has done so."""
        if not self._is_released:
            with suppress(Unavailable):  # the lease ends it instead; everything the client sent is saved
                self._repository.release(self.claim)

    def renew(self) -> None:
        """Renew the claim without saving anything. Raises ``ClaimLost``."""
        self._repository.renew(self.claim, until=self.claim_until())


class Claims:
    """Claims uploads, and cleans up after requests that have lost their claim.

    It knows all claims of this process, and can tell which claims of others are abandoned.
    """

    def __init__(
        self, repository: StateRepository, storage: Storage, *, lease: timedelta, now: Clock, observer: Observer
    ) -> None:
        self._repository = repository
        self._storage = storage
        self._observer = observer
        self._progress = storage.capabilities.progress
        self._lease = lease
        self._now = now
        self._name = ProcessName()
        self._claimed_uploads: dict[tuple[str, int], ClaimedUpload] = {}
        self._coming: list[str] = []  # ids of uploads that are just being claimed
        self._announced: list[str] = []  # ids of uploads for which a request with content has arrived

    def add(
        self, upload: Upload, *, is_free: bool, is_receiving: bool = False, quota: Quota | None = None
    ) -> ClaimedUpload:
        """Insert a new record, claimed unless it ``is_free``. Pass the result to :meth:`keep`.

        :param quota: What its owner may have.
        """
        claimed = self._claimed(is_receiving)

        def add() -> tuple[Upload, Claim]:
            until = None if is_free else claimed.claim_until()
            if quota is None:
                made, claim = upload, self._repository.add(upload, until=until, by=str(self._name))
            else:
                now = self._now()
                made, claim = self._repository.add_within(upload, quota, now=now, until=until, by=str(self._name))
            return replace(made, fence=claim.fence), claim

        return self._begun(claimed, upload.id, add, is_released=is_free)

    @contextmanager
    def take(
        self,
        upload_id: str,
        *,
        known: Upload | None = None,
        make_way: Callable[[Upload], Upload] | None = None,
        is_receiving: bool = False,
    ) -> Iterator[ClaimedUpload]:
        """Claim an upload for the context, and count everything that earlier requests have written to it.

        :param known: The upload as it was just read.
        :param make_way: Asks the request that is receiving content to release the upload, and returns the upload after
            that. Its claim is then replaced. Without this, only an abandoned claim is replaced.
        :param is_receiving: Whether content is about to arrive, so that the claim must last longer.
        :raises UploadLocked: Another request holds the upload and must not be interrupted.
        """
        claimed = self._claim(self._claimed(is_receiving), upload_id, known, make_way)
        with self.keep(claimed):
            if known is not None and not claimed.upload.is_same(known):
                raise UploadNotFound(upload_id)
            if claimed.upload.status is Status.ACTIVE and not claimed.upload.is_released:
                self._recover(claimed)
            if is_receiving and known is not None and known.is_receiving:
                self._tell(known, claimed.upload)
            claimed.show(str(self._name))
            yield claimed

    def _tell(self, before: Upload, taken: Upload) -> None:
        """Tell that an upload was taken over, which looked like ``before`` when the newer request came."""
        self._observer.took_over(taken)
        if taken.offset > before.offset:
            self._observer.rescued(taken, taken.offset - before.offset)

    def take_free(self, upload_id: str, *, owner: str | None) -> ClaimedUpload | None:
        """Claim an upload for content that is about to arrive, if nothing else is to be done before.

        Pass the result to :meth:`keep`. If it is ``None``, use :meth:`take`, which has the same result in more steps.
        """
        claimed = self._claimed(is_receiving=True)
        self._coming.append(upload_id)
        try:
            until = claimed.claim_until()
            made = self._repository.claim_free(upload_id, owner=owner, now=self._now(), until=until, by=str(self._name))
            return None if made is None else self._registered(claimed, *made)
        finally:
            self._coming.remove(upload_id)

    @contextmanager
    def keep(self, claimed: ClaimedUpload) -> Iterator[ClaimedUpload]:
        """Keep a claim that was already made, and release it when the context ends."""
        try:
            yield claimed
        except ClaimLost:
            self.discard_stray(claimed.upload)
            raise
        finally:
            claimed.release()
            self._claimed_uploads.pop((claimed.claim.upload_id, claimed.claim.fence), None)
            claimed.ended.set()

    @contextmanager
    def announced(self, upload_id: str) -> Iterator[None]:
        """Announce a request with content that is about to claim the upload, until the context ends."""
        self._announced.append(upload_id)
        try:
            yield
        finally:
            self._announced.remove(upload_id)

    def amend(self, upload_id: str, change: Callable[[Upload], Upload], *, known: Upload | None = None) -> Upload:
        """Change a record without a claim, as :meth:`StateRepository.amend` does. Ends the claim of a dead process.

        :raises UploadLocked: A request that seems to be alive has claimed the upload.
        """
        try:
            return self._repository.amend(upload_id, change, now=self._now(), known=known)
        except UploadLocked:
            if not self.is_gone(self._repository.get(upload_id)):
                raise
        with self.take(upload_id):
            pass  # released at the end
        return self._repository.amend(upload_id, change, now=self._now())

    def discard_stray(self, upload: Upload) -> None:
        """Clean up after a request that lost its claim: it may have written files after the upload was gone."""
        try:
            current = self._repository.get(upload.id)
        except UploadNotFound:
            self._storage.delete(upload)
            return
        if not current.is_same(upload):  # it is gone, and another upload has its id
            self._storage.delete(upload)
        else:
            # Also in DELETING: the request that removes it may have deleted the files before we wrote the last ones.
            is_over = current.status in (Status.DELETING, Status.GONE)
            if is_over or (current.status is Status.COMPLETE and not current.is_partial):
                self._storage.remove_orphans(current)
            elif current.status is Status.ACTIVE and self._progress is not None:
                self._progress.lower_fence(current, lambda: self._newest(upload))

    def _newest(self, upload: Upload) -> int | None:
        """Return the number of the upload's newest claim, or ``None`` if nobody may write to it."""
        try:
            current = self._repository.get(upload.id)
        except UploadNotFound:
            return None
        return current.fence if current.is_same(upload) and current.status is Status.ACTIVE else None

    # --- the requests that hold uploads ---

    def found(self, upload_id: str, fence: int) -> ClaimedUpload | None:
        """Return the request of this process that holds the upload with this claim, or ``None``."""
        return self._claimed_uploads.get((upload_id, fence))

    def await_announced(self, upload_id: str, patience: float) -> bool:
        """Wait until an announced request has claimed the upload or failed to. Return whether there was one."""
        if upload_id not in self._announced:
            return False
        deadline = time.monotonic() + patience
        while upload_id in self._announced and time.monotonic() < deadline:
            time.sleep(_BEGIN)
        return True

    def is_gone(self, upload: Upload) -> bool:
        """Whether it is certain that the claim is released or that its holder no longer exists."""
        if upload.is_released:
            return True
        if self.is_own(upload):
            # The order matters: a request is added to the claims before it is removed from those that are coming.
            return upload.id not in self._coming and self.found(upload.id, upload.fence) is None
        return is_dead(upload.claimed_by)

    def is_held(self, upload: Upload) -> bool:
        """Whether a request that seems to be alive has claimed the upload."""
        return upload.is_claimed(self._now()) and not self.is_gone(upload)

    def is_receiving(self, upload: Upload) -> bool:
        """Whether a request that seems to be alive is receiving content, so that the upload does not expire yet."""
        if not upload.is_receiving or self.is_gone(upload):
            return False
        if self.is_own(upload):
            held = self.found(upload.id, upload.fence)
            return held is not None and held.is_receiving
        # Other claims, such as that of a cleaner, last one lease.
        return upload.claimed_until is not None and upload.claimed_until > self._now() + self._lease

    def is_own(self, upload: Upload) -> bool:
        """Whether the last holder of the upload is a request of this process."""
        return upload.claimed_by == str(self._name)

    def is_near(self, upload: Upload) -> bool:
        """Whether the last holder of the upload is on this machine."""
        return is_here(upload.claimed_by)

    # --- internals ---

    def _claimed(self, is_receiving: bool) -> ClaimedUpload:
        return ClaimedUpload(self._repository, lease=self._lease, now=self._now, is_receiving=is_receiving)

    def _begun(
        self,
        claimed: ClaimedUpload,
        upload_id: str,
        claim: Callable[[], tuple[Upload, Claim]],
        *,
        is_released: bool = False,
    ) -> ClaimedUpload:
        """Make a claim, and register it."""
        self._coming.append(upload_id)
        try:
            return self._registered(claimed, *claim(), is_released=is_released)
        finally:
            self._coming.remove(upload_id)

    def _registered(
        self, claimed: ClaimedUpload, upload: Upload, claim: Claim, *, is_released: bool = False
    ) -> ClaimedUpload:
        """Register a claim, so that other requests of this process find it."""
        claimed.begin(upload, claim, is_released=is_released)
        self._claimed_uploads[upload.id, claim.fence] = claimed
        return claimed

    def _claim(
        self, claimed: ClaimedUpload, upload_id: str, known: Upload | None, make_way: Callable[[Upload], Upload] | None
    ) -> ClaimedUpload:
        deadline, first = time.monotonic() + _PATIENCE, known
        while True:
            upload = known or self._repository.get(upload_id)
            if first is not None and not upload.is_same(first):  # that one is gone, and another upload has its id
                raise UploadNotFound(upload_id)
            may_take = self.is_gone(upload)
            if make_way is not None and upload.is_receiving and not may_take:
                asked, upload = upload.fence, make_way(upload)
                may_take = upload.is_receiving and upload.fence == asked  # another holder would have to be asked, too
            if may_take or not self._is_stuck(upload):
                claim = partial(
                    self._repository.claim,
                    upload_id,
                    now=self._now(),
                    until=claimed.claim_until(),
                    known=upload,
                    by=str(self._name),
                    over=upload.fence if may_take else None,
                )
                with suppress(UploadLocked):
                    return self._begun(claimed, upload_id, claim)
            known = None
            # A process that has just been killed may take a moment to die.
            is_another = self.is_near(upload) and not self.is_own(upload)
            if time.monotonic() > deadline or not (may_take or is_another or (make_way and upload.is_receiving)):
                raise UploadLocked
            time.sleep(_POLL)

    def _is_stuck(self, upload: Upload) -> bool:
        """Whether to respect an expired claim, because its process is alive and may be busy with a hook."""
        now = self._now()
        return (
            upload.status is not Status.ACTIVE
            and upload.claimed_until is not None
            and upload.claimed_until <= now < upload.claimed_until + STUCK * self._lease
            and self.is_near(upload)
        )

    def _recover(self, claimed: ClaimedUpload) -> None:
        """Count what the last holder has written but could not save."""
        upload = claimed.upload
        if self._progress is None or upload.client_key is not None or upload.is_final:
            return
        try:
            offset = self._progress.recover(upload, claimed.claim.fence)
        except ClaimLost:
            # If a power failure has taken the newest claims from the record, the fence is ahead of it, not of us.
            self._progress.lower_fence(upload, lambda: self._newest(upload))
            offset = self._progress.recover(upload, claimed.claim.fence)
        if offset > upload.offset:
            claimed.save(advanced(upload, offset))


def advanced(upload: Upload, offset: int) -> Upload:
    """Return the upload with all bytes before ``offset`` received."""
    end = offset if upload.length is None else min(offset, upload.length)
    return replace(upload, received=ByteRanges.prefix(end))


class LeaseKeeper:
    """Renews claims while something slow runs that does not save, such as a hook or a copy.

    One thread renews them all. It ends when there have been none for a while.
    """

    def __init__(self, lease: timedelta) -> None:
        self._interval = lease.total_seconds() / 3
        self._claimed_uploads: set[ClaimedUpload] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self, claimed: ClaimedUpload) -> Iterator[None]:
        """Renew the claim of ``claimed`` until the context ends."""
        with self._changed:
            is_outermost = claimed not in self._claimed_uploads
            self._claimed_uploads.add(claimed)
            self._start()
            self._changed.notify()
        try:
            yield
        finally:
            if is_outermost:
                with self._changed:
                    self._claimed_uploads.discard(claimed)

    def _start(self) -> None:
        # After a fork, the object is there but the thread is not.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="resumable-leases", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._beat():
            pass

    def _beat(self) -> bool:
        """Renew what is held for a whole interval. Return whether there was anything."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._claimed_uploads, self._interval):
                self._thread = None
                return False
            before = set(self._claimed_uploads)
        time.sleep(self._interval)
        with self._changed:
            still_held = before & self._claimed_uploads
        for claimed in still_held:
            with suppress(Unavailable, ClaimLost):  # retried at the next beat; a lost claim shows when saving
                claimed.renew()
        return True
