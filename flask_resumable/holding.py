"""Holding an upload for one request: the claim, the record as last saved, and keeping both alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from typing import Any

from .errors import ClaimLost
from .errors import Unavailable
from .errors import UploadNotFound
from .interfaces import Claim
from .interfaces import StateRepository
from .interfaces import Storage
from .sansio.upload import Status
from .sansio.upload import Upload

Clock = Callable[[], datetime]


class Hold:
    """An upload that this request may change, until a newer request takes it over."""

    def __init__(
        self,
        repository: StateRepository,
        upload: Upload,
        claim: Claim,
        *,
        lease: timedelta,
        now: Clock,
        is_released: bool = False,
    ) -> None:
        self.upload = upload
        self.claim = claim
        self._repository = repository
        self._lease = lease
        self._now = now
        self._is_released = is_released

    @property
    def until(self) -> datetime:
        """How long a claim that is renewed now lives."""
        return self._now() + self._lease

    def save(self, upload: Upload, *, last: bool = False) -> None:
        """Save the record and renew the claim, or give it up with the ``last`` save.

        :raises ClaimLost: A newer request has taken over.
        """
        self._repository.save(upload, self.claim, until=None if last else self.until)
        self.upload = upload
        self._is_released = last

    def settle(self, upload: Upload, hook: Callable[[Any], object], *, last: bool = False) -> None:
        """Save the record together with what ``hook`` writes, or neither.

        :raises ClaimLost: A newer request has taken over.
        """
        self._repository.settle(upload, self.claim, hook, until=None if last else self.until)
        self.upload = upload
        self._is_released = last

    def release(self) -> None:
        """Give the upload free, if the last save has not done so."""
        if not self._is_released:
            self._is_released = True
            with suppress(Unavailable):  # then the lease does it; all that the client asked for is saved
                self._repository.release(self.claim)

    def renew(self) -> None:
        """Renew the claim and nothing else."""
        self._repository.renew(self.claim, until=self.until)


class Holder:
    """Claims uploads, and sees to it that a claim that is lost leaves nothing behind."""

    def __init__(self, repository: StateRepository, storage: Storage, *, lease: timedelta, now: Clock) -> None:
        self._repository = repository
        self._storage = storage
        self._lease = lease
        self._now = now

    @property
    def until(self) -> datetime:
        """How long a claim that is made now lives."""
        return self._now() + self._lease

    @contextmanager
    def take(self, upload_id: str, *, preempt: bool = True, known: Upload | None = None) -> Iterator[Hold]:
        """Claim an upload for the block. See :meth:`~flask_resumable.interfaces.StateRepository.claim`."""
        now = self._now()
        upload, claim = self._repository.claim(
            upload_id, now=now, until=now + self._lease, preempt=preempt, known=known
        )
        with self.keep(upload, claim) as hold:
            yield hold

    @contextmanager
    def keep(self, upload: Upload, claim: Claim, *, is_released: bool = False) -> Iterator[Hold]:
        """Hold what is claimed already for the block."""
        hold = Hold(self._repository, upload, claim, lease=self._lease, now=self._now, is_released=is_released)
        try:
            yield hold
        except ClaimLost:
            self.discard_stray(upload)
            raise
        finally:
            hold.release()

    def discard_stray(self, upload: Upload) -> None:
        """Clean up behind a writer that was overtaken: it may have touched a file after its upload was gone."""
        try:
            current = self._repository.get(upload.id)
        except UploadNotFound:
            self._storage.delete(upload)
        else:
            # In DELETING as well: who removes it may be done with the files, and we were the last to touch them.
            is_over = current.status in (Status.DELETING, Status.GONE)
            if is_over or (current.status is Status.COMPLETE and not current.is_partial):
                self._storage.discard_stray(current)


class LeaseKeeper:
    """Renews claims while something slow runs that saves nothing: a hook, a copy.

    One thread per process does it for all, and sleeps while there is nothing to keep.
    """

    def __init__(self, lease: timedelta) -> None:
        self._interval = lease.total_seconds() / 3
        self._holds: set[Hold] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self, hold: Hold) -> Iterator[None]:
        """Keep ``hold`` alive for the length of the block."""
        with self._changed:
            is_outermost = hold not in self._holds
            self._holds.add(hold)
            self._start()
            self._changed.notify()
        try:
            yield
        finally:
            if is_outermost:
                with self._changed:
                    self._holds.discard(hold)

    def _start(self) -> None:
        # A worker that was forked has the object, but not the thread.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="resumable-leases", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._holds)
                before = set(self._holds)
            time.sleep(self._interval)
            with self._changed:
                still_held = before & self._holds
            for hold in still_held:
                with suppress(Unavailable, ClaimLost):  # the next beat may get through; who lost it learns when saving
                    hold.renew()
