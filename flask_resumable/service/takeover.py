"""Asking before taking: a new request meets one that still brings content into the same upload.

Most often that one belongs to a connection that its client has given up, and has received more than the record says.
None of it is to be lost, and nobody is to wait for a connection that is dead:

* In the same process, the newcomer does itself what is to be done: it stores what has arrived, and saves.
* In another process of the same machine, the storage knows how far that one has written.
* Elsewhere, or if the storage does not know, the newcomer leaves a wish in the record and waits a moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from ..core.upload import Status
from ..core.upload import Upload
from ..errors import OffsetMismatch
from ..errors import ResumableError
from ..errors import UploadLocked
from ..interfaces import StateRepository
from ..interfaces import Storage
from .claims import advanced
from .claims import ClaimedUpload
from .claims import Claims
from .claims import Clock
from .claims import Transfer

SHOW = "show"  # the wishes: save what you have
LEAVE = "leave"  # and let go; in any case, or if you have got to the offset that follows

PATIENCE = 0.75  # seconds to wait for an answer
_RECENTLY = timedelta(seconds=3)  # since somebody was at it; a user who comes back need not wait
_OVERTAKING = 0.1  # seconds that content may come later than the question about it, on a machine that is not busy
_STEPS = 20  # of that time, each of which takes longer on a busy one
_SETTLING = 0.1  # seconds in which a request whose connection has just ended lets go by itself
_PASSING = 0.02  # the same, for a newcomer with content: a client has asked before, and asks again in _OVERTAKING
_LISTENING = 0.2  # seconds between two looks for wishes
_POLLS = (0.005, 0.01, 0.02, 0.04)  # seconds; the last one again and again


class Newcomers:
    """What a request does that finds another one at work."""

    def __init__(self, repository: StateRepository, storage: Storage, claims: Claims, now: Clock) -> None:
        self._repository = repository
        self._progress = storage.capabilities.progress
        self._claims = claims
        self._now = now

    def let_begin(self, upload: Upload) -> Upload:
        """Let a request with content begin that has come just before this one; the upload as it is then.

        A client whose connection breaks asks at once, on another one, where to go on. Each connection has a thread or
        a process of its own, so the question may overtake the content. To answer it then would have all of the content
        sent twice.
        """
        if upload.status is not Status.ACTIVE or upload.updated_at is None:
            return upload
        is_recent = self._now() - upload.updated_at < _RECENTLY
        for _ in range(_STEPS if is_recent else 0):
            if self._claims.await_announced(upload.id, PATIENCE):
                return self._repository.get(upload.id)
            time.sleep(_OVERTAKING / _STEPS)
        has_come = self._claims.await_announced(upload.id, PATIENCE)
        if not is_recent and not has_come:
            return upload
        before, upload = upload, self._repository.get(upload.id)
        deadline = time.monotonic() + self._patience_with_newcomer(before, upload)
        while upload.fence == before.fence and time.monotonic() < deadline:
            time.sleep(_POLLS[-2])
            upload = self._repository.get(upload.id)
        return upload

    def _patience_with_newcomer(self, before: Upload, now: Upload) -> float:
        """How many seconds a request in another process, which has content, may still need to claim the upload.

        It looks a few times a second whether the holder that it has asked to leave has done so.
        """
        if any((upload.asked or "").startswith(LEAVE) for upload in (before, now)):
            return PATIENCE - _OVERTAKING
        has_left = now.is_released and not before.is_released and not self._claims.is_own(before)
        return 2 * _POLLS[-1] if has_left else 0

    def look(self, upload: Upload) -> Upload:
        """The upload with all that has arrived by now, saved; whoever brings it in goes on.

        If it is not claimed any more, or not at the moment, it has to be looked at as any other.
        """
        claimed = self._begun(upload)
        if claimed is not None:
            return self._shown(claimed, upload)
        if self._is_over(upload):
            return upload
        if self._claims.is_near(upload) and self._progress is not None:
            upload = self._settled(upload, _SETTLING)
            if not upload.is_receiving or self._is_over(upload):
                return upload
            offset = self._progress.progress(upload)
            if offset is not None:
                return self._told(upload, offset)
        self._repository.ask(upload, SHOW)
        return self._wait(upload, PATIENCE, lambda now: now.version != upload.version)

    def make_way(self, at: int | None, upload: Upload) -> Upload:
        """Have whoever brings content in save it and leave; the upload as it is then.

        :param at: The offset from which the new request goes on; ``None``: it does not.
        :raises OffsetMismatch: Another offset has been reached; whoever has reached it goes on.
        """
        claimed = self._begun(upload)
        if claimed is not None:
            return self._left(claimed, upload, at)
        if self._is_over(upload):
            return upload
        if self._claims.is_near(upload) and self._progress is not None:
            upload = self._settled(upload, _PASSING)
            if not upload.is_receiving or self._is_over(upload):
                return upload
            offset = self._progress.progress(upload)
            if offset is not None:
                if at not in (offset, None):
                    raise OffsetMismatch(self._told(upload, offset).offset, at)
                return upload
        self._repository.ask(upload, LEAVE if at is None else f"{LEAVE} {at}")
        now = self._wait(upload, PATIENCE, lambda now: now.version != upload.version)
        has_answered = now.version != upload.version and now.fence == upload.fence and now.is_receiving
        if has_answered and at not in (now.offset, None):
            raise OffsetMismatch(now.offset, at)
        return now

    def _left(self, claimed: ClaimedUpload, upload: Upload, at: int | None) -> Upload:
        if claimed.transfer is None:
            return upload
        deadline = time.monotonic() + PATIENCE
        if claimed.transfer.is_withheld:
            claimed.ended.wait(_SETTLING / 2)
        left = claimed.transfer.leave(PATIENCE, at=at)
        if left is None:
            claimed.ended.wait(deadline - time.monotonic())
        elif at not in (left.offset, None):
            raise OffsetMismatch(left.offset, at)
        return self._repository.get(upload.id)

    def _begun(self, upload: Upload) -> ClaimedUpload | None:
        """The hold of another request of this process, which has begun to take its content in unless a hook is slow."""
        claimed = self._claims.found(upload.id, upload.fence)
        if claimed is not None:
            claimed.await_begin(PATIENCE)
        return claimed

    def _is_over(self, upload: Upload) -> bool:
        """Whether there is nobody left to ask."""
        return not upload.is_claimed(self._now()) or self._claims.is_gone(upload)

    def _shown(self, claimed: ClaimedUpload, upload: Upload) -> Upload:
        if claimed.transfer is None:
            return upload  # a hook is at work
        if claimed.transfer.is_withheld and claimed.ended.wait(_SETTLING / 2):
            return self._repository.get(upload.id)
        shown = claimed.transfer.show(PATIENCE)
        if shown is not None:
            return shown
        claimed.ended.wait(PATIENCE)
        return self._repository.get(upload.id)

    def _told(self, upload: Upload, offset: int) -> Upload:
        """The upload at an offset that its holder has reached, which the record says from now on."""
        if upload.length is not None and offset >= upload.length:
            raise UploadLocked  # it is about to be finished
        if offset == upload.offset:
            return upload
        more = advanced(upload, offset)
        return more if self._repository.tell(more) else self._repository.get(upload.id)

    def _settled(self, upload: Upload, patience: float) -> Upload:
        """The upload after a moment in which a request that has lost its connection lets go.

        One that is still writing has not lost it.
        """
        assert self._progress is not None
        before = self._progress.progress(upload, durable=False)
        upload = self._wait(upload, _POLLS[0], lambda now: False)
        if not upload.is_receiving or self._progress.progress(upload, durable=False) != before:
            return upload
        return self._wait(upload, patience, lambda now: False)

    def _wait(self, upload: Upload, patience: float, is_enough: Callable[[Upload], bool]) -> Upload:
        """The upload when its holder has let go of it, or ``is_enough``, or after so many seconds."""
        deadline = time.monotonic() + patience
        polls = iter(_POLLS)
        while True:
            time.sleep(next(polls, _POLLS[-1]))
            now = self._repository.get(upload.id)
            is_same = now.fence == upload.fence and not now.is_released
            if not is_same or is_enough(now) or self._claims.is_gone(now) or time.monotonic() > deadline:
                return now


class Listener:
    """Hears what requests in other processes ask of those that bring content in here.

    One thread for all, for as long as there is somebody to hear. Requests that are done at once need none.
    """

    def __init__(self, repository: StateRepository, claims: Claims) -> None:
        self._repository = repository
        self._claims = claims
        self._held: set[ClaimedUpload] = set()
        self._granting: set[ClaimedUpload] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, claimed: ClaimedUpload) -> None:
        """Listen on behalf of ``hold``."""
        with self._lock:
            self._held.add(claimed)
            # A worker that was forked has the object, but not the thread.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="resumable-wishes", daemon=True)
                self._thread.start()

    def discard(self, claimed: ClaimedUpload) -> None:
        """Stop that."""
        with self._lock:
            self._held.discard(claimed)

    def _run(self) -> None:
        while True:
            time.sleep(_LISTENING)
            with self._lock:
                if not self._held:
                    self._thread = None
                    return
            with suppress(ResumableError):  # the database may answer the next time
                self._hear()

    def _hear(self) -> None:
        for claim, wish in self._repository.asked():
            claimed = self._claims.found(claim.upload_id, claim.fence)
            if claimed is not None and claimed.transfer is not None and claimed not in self._granting:
                self._granting.add(claimed)
                # Each by itself: nobody is to wait for another's store.
                act = threading.Thread(
                    target=self._grant, args=(claimed, claimed.transfer, wish), name="resumable-wish"
                )
                act.daemon = True
                act.start()

    def _grant(self, claimed: ClaimedUpload, transfer: Transfer, wish: str) -> None:
        try:
            with suppress(ResumableError):
                word, _, at = wish.partition(" ")
                if word == LEAVE:
                    transfer.leave(PATIENCE, at=int(at) if at else None)
                else:
                    transfer.show(PATIENCE, answer=True)
        finally:
            self._granting.discard(claimed)
