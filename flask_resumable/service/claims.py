"""Holding an upload for one request: the claim, the record as last saved, and keeping both alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from functools import partial
from typing import Any
from typing import Protocol

from ..core.answer import Answer
from ..core.ranges import ByteRanges
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import ClaimLost
from ..errors import Unavailable
from ..errors import UploadLocked
from ..errors import UploadNotFound
from ..interfaces import Claim
from ..interfaces import StateRepository
from ..interfaces import Storage
from ..processes import is_dead
from ..processes import is_here
from ..processes import ProcessName

Clock = Callable[[], datetime]

# While content comes in, the record is rarely saved: the claim has to last until then. Any request may take it over.
RECEIVING = 15  # leases
# A claim that has run out, though its process is alive: it may be busy with a hook that lets nothing else run.
STUCK = 4  # leases
_PATIENCE = 0.25  # seconds to wait for another process that may be dying, or about to let go
_POLL = 0.01  # seconds
_BEGIN = 0.002  # seconds


class Transfer(Protocol):
    """Content on its way into an upload that is held."""

    @property
    def is_withheld(self) -> bool:
        """Whether the server may have content that it hands out only with more of it, or when the connection ends."""
        ...

    def show(self, patience: float, *, answer: bool = False) -> Upload | None:
        """Save what has arrived, and go on; the upload. ``None``: it is at its end, the record will tell in a moment.

        :param patience: How many seconds to wait for a block that is being stored.
        :param answer: Save even if there is nothing new, so that whoever waits for it sees another version.
        """
        ...

    def leave(self, patience: float, *, at: int | None) -> Upload | None:
        """Save what has arrived, and let go of the upload; the upload. ``None``: it is at its end, or takes longer.

        :param at: The offset from which the newer request goes on. If this is not where the content has got to, that
            request is too late: then all goes on as before. ``None``: leave in any case.
        """
        ...


class ClaimedUpload:
    """An upload that this request may change, until a newer request takes it over."""

    upload: Upload  # as last saved
    claim: Claim

    def __init__(self, repository: StateRepository, *, lease: timedelta, now: Clock, is_receiving: bool) -> None:
        self.is_receiving = is_receiving  # as long as it is, the claim lives for longer
        self.transfer: Transfer | None = None
        self.ended = threading.Event()
        self._repository = repository
        self._lease = lease
        self._now = now
        self._is_released = False
        self._renew_at = now()

    def begin(self, upload: Upload, claim: Claim, *, is_released: bool = False) -> None:
        """From here on, ``claim`` is this hold's."""
        self.upload = upload
        self.claim = claim
        self._is_released = is_released

    def claim_until(self) -> datetime:
        """How long a claim that is made or renewed now lives."""
        now = self._now()
        lease = self._lease * (RECEIVING if self.is_receiving else 1)
        self._renew_at = now + lease / 3
        return now + lease

    @property
    def is_due(self) -> bool:
        """Whether it is time to renew the claim."""
        return self._now() >= self._renew_at

    def await_begin(self, patience: float) -> None:
        """Wait until content is being taken in, if that is what the upload is held for."""
        deadline = time.monotonic() + patience
        while self.is_receiving and self.transfer is None and not self.ended.is_set() and time.monotonic() < deadline:
            time.sleep(_BEGIN)

    def save(self, upload: Upload, *, last: bool = False) -> None:
        """Save the record and renew the claim, or give it up with the ``last`` save.

        :raises ClaimLost: A newer request has taken over.
        """
        upload = replace(upload, updated_at=self._now())
        self._repository.save(upload, self.claim, until=None if last else self.claim_until())
        self.upload = upload
        self._is_released = last

    def save_with_hook(self, upload: Upload, hook: Callable[[Any], Answer | None], *, last: bool = False) -> None:
        """Save the record together with what ``hook`` writes, or neither.

        :raises ClaimLost: A newer request has taken over.
        """
        upload = replace(upload, updated_at=self._now())
        until = None if last else self.claim_until()
        self.upload = self._repository.save_with_hook(upload, self.claim, hook, until=until)
        self._is_released = last

    def release(self) -> None:
        """Release the claim, if the last save has not done so."""
        if not self._is_released:
            self._is_released = True
            with suppress(Unavailable):  # then the lease does it; all that the client asked for is saved
                self._repository.release(self.claim)

    def renew(self) -> None:
        """Renew the claim and nothing else."""
        self._repository.renew(self.claim, until=self.claim_until())


class Claims:
    """Claims uploads, and sees to it that a claim that is lost leaves nothing behind.

    It knows all holds of this process, and which claims of others have nobody any more to answer for them.
    """

    def __init__(self, repository: StateRepository, storage: Storage, *, lease: timedelta, now: Clock) -> None:
        self._repository = repository
        self._storage = storage
        self._progress = storage.capabilities.progress
        self._lease = lease
        self._now = now
        self._name = ProcessName()
        self._claimed_uploads: dict[tuple[str, int], ClaimedUpload] = {}
        self._coming: list[str] = []  # ids of uploads for which a claim is being made
        self._announced: list[str] = []  # ids of uploads for which content has come

    def add(self, upload: Upload, *, is_free: bool, is_receiving: bool = False) -> ClaimedUpload:
        """A new record, claimed unless it ``is_free``; to be passed to :meth:`keep`."""
        claimed = self._claimed(is_receiving)

        def add() -> tuple[Upload, Claim]:
            until = None if is_free else claimed.claim_until()
            claim = self._repository.add(upload, until=until, by=str(self._name))
            return replace(upload, fence=claim.fence), claim

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
        """Claim an upload for the block, at the offset up to which anything has arrived.

        :param known: The upload, as it was just read.
        :param make_way: Asks whoever brings content in to let go; the upload after that, which is then taken from them.
            ``None``: a holder is only interrupted if it is certain to be gone.
        :param is_receiving: Whether content is about to come in, so that the claim is renewed rarely.
        :raises UploadLocked: Somebody has it who may not be interrupted.
        """
        claimed = self._claim(self._claimed(is_receiving), upload_id, known, make_way)
        with self.keep(claimed):
            if claimed.upload.status is Status.ACTIVE and not claimed.upload.is_released:
                self._recover(claimed)
            yield claimed

    @contextmanager
    def keep(self, claimed: ClaimedUpload) -> Iterator[ClaimedUpload]:
        """Hold what is claimed already for the block."""
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
        """For the length of the block, other requests know that one with content is about to claim the upload."""
        self._announced.append(upload_id)
        try:
            yield
        finally:
            self._announced.remove(upload_id)

    def discard_stray(self, upload: Upload) -> None:
        """Clean up after a writer that was overtaken: it may have touched a file after its upload was gone."""
        try:
            current = self._repository.get(upload.id)
        except UploadNotFound:
            self._storage.delete(upload)
        else:
            # In DELETING as well: who removes it may be done with the files, and we were the last to touch them.
            is_over = current.status in (Status.DELETING, Status.GONE)
            if is_over or (current.status is Status.COMPLETE and not current.is_partial):
                self._storage.remove_orphans(current)

    # --- those who hold uploads ---

    def found(self, upload_id: str, fence: int) -> ClaimedUpload | None:
        """Whoever holds the upload with this claim, if it is a request of this process."""
        return self._claimed_uploads.get((upload_id, fence))

    def await_announced(self, upload_id: str, patience: float) -> bool:
        """Wait until a request that has come with content has claimed the upload, or cannot; if there was one."""
        if upload_id not in self._announced:
            return False
        deadline = time.monotonic() + patience
        while upload_id in self._announced and time.monotonic() < deadline:
            time.sleep(_BEGIN)
        return True

    def is_gone(self, upload: Upload) -> bool:
        """Whether it is certain that nobody is there any more who could release the upload."""
        if upload.is_released:
            return True
        if self.is_own(upload):
            # In this order: who is coming will be among the holds before it has stopped coming.
            return upload.id not in self._coming and self.found(upload.id, upload.fence) is None
        return is_dead(upload.claimed_by)

    def is_own(self, upload: Upload) -> bool:
        """Whether the last request that held the upload is one of this process."""
        return upload.claimed_by == str(self._name)

    def is_near(self, upload: Upload) -> bool:
        """Whether the upload is held on this machine."""
        return is_here(upload.claimed_by)

    # --- within ---

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
        """The hold with what ``claim`` has claimed, known to all requests of this process."""
        self._coming.append(upload_id)
        try:
            claimed.begin(*claim(), is_released=is_released)
            self._claimed_uploads[upload_id, claimed.claim.fence] = claimed
            return claimed
        finally:
            self._coming.remove(upload_id)

    def _claim(
        self, claimed: ClaimedUpload, upload_id: str, known: Upload | None, make_way: Callable[[Upload], Upload] | None
    ) -> ClaimedUpload:
        deadline = time.monotonic() + _PATIENCE
        while True:
            upload = known or self._repository.get(upload_id)
            may_take = self.is_gone(upload)
            if make_way is not None and upload.is_receiving and not may_take:
                asked, upload = upload.fence, make_way(upload)
                may_take = upload.is_receiving and upload.fence == asked  # another one would have to be asked as well
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
            # One that has just been killed may take a moment to die.
            is_another = self.is_near(upload) and not self.is_own(upload)
            if time.monotonic() > deadline or not (may_take or is_another or (make_way and upload.is_receiving)):
                raise UploadLocked
            time.sleep(_POLL)

    def _is_stuck(self, upload: Upload) -> bool:
        """Whether a claim that has run out must be respected: its process is alive, and may be busy with a hook."""
        now = self._now()
        return (
            upload.status is not Status.ACTIVE
            and upload.claimed_until is not None
            and upload.claimed_until <= now < upload.claimed_until + STUCK * self._lease
            and self.is_near(upload)
        )

    def _recover(self, claimed: ClaimedUpload) -> None:
        """Count what the last holder has written and could not save."""
        upload = claimed.upload
        if self._progress is None or upload.client_key is not None or upload.is_final:
            return
        offset = self._progress.recover(upload, claimed.claim.fence)
        if offset > upload.offset:
            claimed.save(advanced(upload, offset))


def advanced(upload: Upload, offset: int) -> Upload:
    """The upload with all bytes before ``offset``."""
    end = offset if upload.length is None else min(offset, upload.length)
    return replace(upload, received=ByteRanges.prefix(end))


class LeaseKeeper:
    """Renews claims while something slow runs that saves nothing: a hook, a copy.

    One thread per process does it for all, and sleeps while there is nothing to keep.
    """

    def __init__(self, lease: timedelta) -> None:
        self._interval = lease.total_seconds() / 3
        self._claimed_uploads: set[ClaimedUpload] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self, claimed: ClaimedUpload) -> Iterator[None]:
        """Keep ``hold`` alive for the length of the block."""
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
        # A worker that was forked has the object, but not the thread.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="resumable-leases", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._claimed_uploads)
                before = set(self._claimed_uploads)
            time.sleep(self._interval)
            with self._changed:
                still_held = before & self._claimed_uploads
            for claimed in still_held:
                with suppress(Unavailable, ClaimLost):  # the next beat may get through; who lost it learns when saving
                    claimed.renew()
