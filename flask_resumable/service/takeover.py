"""Taking over an upload from a request that is still receiving content for it.

Usually the client of that request has given up its connection, and the request has received more than the record says.
None of that may be lost, and nobody should wait for a dead connection:

* If the request runs in this process, the new request stores and saves what has arrived.
* If it runs in another process on this machine, the storage knows how far it has written.
* Otherwise, or if the storage does not know, the new request leaves a message in the record and waits a moment.
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

SHOW = "show"  # a message: save what you have
LEAVE = "leave"  # a message: save, and release the upload; with an offset, only if you have reached that offset

PATIENCE = 0.75  # seconds to wait for an answer
_RECENTLY = timedelta(seconds=3)  # since the last activity; users who return after that do not have to wait
_OVERTAKING = 0.1  # seconds by which a request for the offset may overtake the content, on a machine that is not busy
_STEPS = 20  # the number of naps in that time; on a busy machine each of them takes longer
_SETTLING = 0.1  # seconds in which a request whose connection has just ended releases its upload by itself
_PASSING = 0.02  # the same for a new request with content, whose client has waited already when it asked for the offset
_LISTENING = 0.2  # seconds between two checks for messages
_STAYING = 5.0  # seconds without requests after which these checks end
_FIRST_POLLS = (0.005, 0.01, 0.02)  # seconds
_POLL = 0.04  # seconds between all further ones
_WRITING = 0.005  # seconds in which a request whose connection has not ended usually writes something
_COMING = 0.02  # seconds between two looks for content that is about to claim the upload


class Takeover:
    """What a request does when another one is working on its upload."""

    def __init__(self, repository: StateRepository, storage: Storage, claims: Claims, now: Clock) -> None:
        self._repository = repository
        self._progress = storage.capabilities.progress
        self._claims = claims
        self._now = now

    def let_begin(self, upload: Upload) -> Upload:
        """Wait for a request with content that arrived just before this one to start. Return the upload after that.

        A client whose connection breaks immediately asks for the offset on another connection. Each connection has its
        own thread or process, so that request may overtake the content. If it were answered at once, the client would
        send all of the content again.
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
            time.sleep(_COMING)
            upload = self._repository.get(upload.id)
        return upload

    def _patience_with_newcomer(self, before: Upload, now: Upload) -> float:
        """Return how many seconds a request with content in another process may still need to claim the upload.

        It checks a few times per second whether the holder has released the upload.
        """
        if any((upload.claim_message or "").startswith(LEAVE) for upload in (before, now)):
            return PATIENCE - _OVERTAKING
        has_left = now.is_released and not before.is_released and not self._claims.is_own(before)
        return 2 * _POLL if has_left else 0

    def look(self, upload: Upload) -> Upload:
        """Save what has arrived so far, and return the upload. The request that receives it carries on.

        If the upload is no longer claimed when this returns, treat it like any other upload.
        """
        claimed = self._begun(upload)
        if claimed is not None:
            return self._shown(claimed, upload)
        if self._is_over(upload):
            return upload
        if self._claims.is_near(upload) and self._progress is not None:
            upload = self._after_release(upload, _SETTLING)
            if not upload.is_receiving or self._is_over(upload):
                return upload
            offset = self._progress.progress(upload)
            if offset is not None:
                return self._told(upload, offset)
        self._repository.leave_message(upload, SHOW)
        return self._wait(upload, PATIENCE, for_answer=True)

    def make_way(self, at: int | None, upload: Upload) -> Upload:
        """Make the request that is receiving content save it and release the upload. Return the upload after that.

        :param at: The offset from which the new request continues, or ``None`` if it does not.
        :raises OffsetMismatch: Another offset has been reached, and the other request carries on.
        """
        claimed = self._begun(upload)
        if claimed is not None:
            return self._left(claimed, upload, at)
        if self._is_over(upload):
            return upload
        if self._claims.is_near(upload) and self._progress is not None:
            upload = self._after_release(upload, _PASSING)
            if not upload.is_receiving or self._is_over(upload):
                return upload
            offset = self._progress.progress(upload)
            if offset is not None:
                if at not in (offset, None):
                    raise OffsetMismatch(self._told(upload, offset).offset, at)
                return upload
        self._repository.leave_message(upload, LEAVE if at is None else f"{LEAVE} {at}")
        now = self._wait(upload, PATIENCE, for_answer=True)
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
        """Return the claim of another request in this process, once that request reads its body or a hook is slow."""
        claimed = self._claims.found(upload.id, upload.fence)
        if claimed is not None:
            claimed.await_begin(PATIENCE)
        return claimed

    def _is_over(self, upload: Upload) -> bool:
        """Whether there is no request left to ask."""
        return not self._claims.is_held(upload)

    def _shown(self, claimed: ClaimedUpload, upload: Upload) -> Upload:
        if claimed.transfer is None:
            return upload  # a hook is running
        if claimed.transfer.is_withheld and claimed.ended.wait(_SETTLING / 2):
            return self._repository.get(upload.id)
        shown = claimed.transfer.show(PATIENCE)
        if shown is not None:
            # While it could not save, another process may have told a greater offset.
            return upload if upload.offset > shown.offset else shown
        claimed.ended.wait(PATIENCE)
        return self._repository.get(upload.id)

    def _told(self, upload: Upload, offset: int) -> Upload:
        """Record an offset that the holder has reached, and return the upload."""
        if upload.length is not None and offset >= upload.length:
            raise UploadLocked  # it is about to be completed
        if offset == upload.offset:
            return upload
        more = advanced(upload, offset)
        return more if self._repository.save_progress(more) else self._repository.get(upload.id)

    def _after_release(self, upload: Upload, patience: float) -> Upload:
        """Give a request that has lost its connection a moment to release the upload. Return the upload after that.

        A request that is still writing has not lost its connection and is not waited for.
        """
        assert self._progress is not None
        before = self._progress.progress(upload, durable=False)
        time.sleep(_WRITING)
        upload = self._repository.get(upload.id)
        if not upload.is_receiving or self._progress.progress(upload, durable=False) != before:
            return upload
        return self._wait(upload, patience)

    def _wait(self, upload: Upload, patience: float, *, for_answer: bool = False) -> Upload:
        """Wait until the holder has released or lost the upload, or the time is up. Return the upload.

        :param for_answer: Whether it is enough that the holder saves the upload.
        """
        deadline = time.monotonic() + patience
        polls = iter(_FIRST_POLLS)
        while True:
            time.sleep(next(polls, _POLL))
            now = self._repository.get(upload.id)
            is_over = now.fence != upload.fence or self._claims.is_gone(now)
            has_answered = for_answer and now.version != upload.version
            if is_over or has_answered or time.monotonic() > deadline:
                return now


class Listener:
    """Receives messages from other processes to the requests that are receiving content in this one.

    When the server stops, all these requests are told to save and to leave.

    One thread serves them all. Short requests do not need it, but starting it would take longer than they do, so it
    stays for a while after the last one.
    """

    def __init__(self, repository: StateRepository, claims: Claims, is_stopping: Callable[[], bool]) -> None:
        self._repository = repository
        self._claims = claims
        self._is_stopping = is_stopping
        self._held: set[ClaimedUpload] = set()
        self._granting: set[ClaimedUpload] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, claimed: ClaimedUpload) -> None:
        """Start to receive messages for ``claimed``."""
        with self._lock:
            self._held.add(claimed)
            # After a fork, the object is there but the thread is not.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="resumable-messages", daemon=True)
                self._thread.start()

    def discard(self, claimed: ClaimedUpload) -> None:
        """Stop receiving messages for ``claimed``."""
        with self._lock:
            self._held.discard(claimed)

    def _run(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(_LISTENING)
            now = time.monotonic()
            with self._lock:
                if not self._held and now - last > _STAYING:
                    self._thread = None
                    return
                last = now if self._held else last
                held = tuple(self._held)
            if held and self._is_stopping():
                for claimed in held:
                    with suppress(ResumableError):  # the request itself reports it
                        if claimed.transfer is not None:
                            claimed.transfer.stop()
            elif held:
                with suppress(ResumableError):  # tried again soon
                    self._hear()

    def _hear(self) -> None:
        for claim, message in self._repository.messages():
            claimed = self._claims.found(claim.upload_id, claim.fence)
            if claimed is not None and claimed.transfer is not None and claimed not in self._granting:
                self._granting.add(claimed)
                # In a thread of its own, so that a slow storage does not delay other messages.
                arguments = (claimed, claimed.transfer, message)
                threading.Thread(target=self._grant, args=arguments, name="resumable-message", daemon=True).start()

    def _grant(self, claimed: ClaimedUpload, transfer: Transfer, message: str) -> None:
        try:
            with suppress(ResumableError):
                word, _, at = message.partition(" ")
                if word == LEAVE:
                    transfer.leave(PATIENCE, at=int(at) if at else None)
                else:
                    transfer.show(PATIENCE, answer=True)
        finally:
            self._granting.discard(claimed)
