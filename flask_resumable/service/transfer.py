"""Moves the content of a request into the storage.

Whatever interrupts it (the client disconnects, the disk is full, the worker is stopped, a newer request takes over),
what has arrived until then is saved, so that the client can resume from there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import nullcontext
from contextlib import suppress

from ..core import upload as rules
from ..core.checksum import ALGORITHMS
from ..core.checksum import Checksum
from ..core.checksum import Hasher
from ..core.replacing import replace
from ..core.upload import JSONObject
from ..core.upload import Limits
from ..core.upload import Status
from ..core.upload import Upload
from ..core.upload import Write
from ..errors import BodyIncomplete
from ..errors import ClaimLost
from ..errors import InvalidRequest
from ..errors import LengthConflict
from ..errors import ResumableError
from ..errors import ServerStopping
from ..errors import TooLarge
from ..errors import Unavailable
from ..interfaces import Body
from ..interfaces import Incoming
from ..interfaces import Piped
from ..interfaces import StateRepository
from ..interfaces import Storage
from ..interfaces import Watch
from ..interfaces import Writer
from ..interfaces import WriterCapabilities
from ..interfaces.observer import Activity
from ..interfaces.observer import Kind
from ..interfaces.observer import Observer
from .claims import ClaimedUpload
from .claims import Clock
from .progress import Progress
from .space import check_space
from .takeover import Listener

_UNOBSERVED = nullcontext()
_LARGE = 64 * 1024  # a block of this size suggests that more can be taken without waiting
_DRAIN = 64 * 1024 * 1024  # the maximum number of bytes to take on behalf of another request
_DRAINING = 0.25  # the maximum number of seconds for that
_SILENCE = 0.9  # seconds without content after which a request checks whether it still holds its upload
_SHOW_EVERY = 1.0  # minimum seconds between two saves on request, which make a store keep less than a full part
_YIELD = 0.001  # seconds
_STOPPING = 0.75  # the maximum number of seconds in which to save again and again what came during the last save
_GRACE = 0.75  # seconds for the rest of a body when the server stops, if nothing counts before its checksum is verified
_MESSAGES_FROM = 32 * 1024 * 1024  # bytes after which even a request that never waits for content receives messages


class Receiver:
    """Streams bodies into a storage and saves how much was received."""

    def __init__(
        self,
        repository: StateRepository,
        storage: Storage,
        call_hook: Callable[[str, Upload], None],
        has_listeners: Callable[[str], bool],
        listener: Listener,
        now: Clock,
        observer: Observer,
        progress: Progress | None = None,
    ) -> None:
        self._observer = observer if Kind.RECEIVE in observer.kinds else None
        self._progress = progress
        self._repository = repository
        self._storage = storage
        self._call_hook = call_hook
        self._has_listeners = has_listeners
        self._listener = listener
        self._now = now

    def receive(self, claimed: ClaimedUpload, write: Write, body: Body, limits: Limits) -> None:
        """Store the content of one request. Afterwards, ``claimed.upload`` is the upload with that content.

        :raises OffsetMismatch: See :func:`~flask_resumable.core.upload.begin`, which raises other errors as well.
        :raises BodyIncomplete: The body was cut off. What arrived counts, unless a checksum covers it.
        :raises ChecksumMismatch: The content is not what the client announced. None of it counts.
        :raises TooLarge: The body goes beyond the end of the upload. The bytes up to there count.
        :raises ClaimLost: A newer request has taken over.
        """
        upload, room = rules.begin(claimed.upload, write, limits, self._now())
        has_content = write.size != 0 and room > 0
        if has_content:
            check_space(self._storage, upload, write.size)
            upload = replace(upload, request_count=upload.request_count + 1)
        is_repeated = not has_content and upload == claimed.upload  # the client lost the response to an earlier request
        if not is_repeated:
            self._call_hook("pre_save", claimed.upload)
        self._repository.release_connection()
        observer = self._observer
        with (
            _UNOBSERVED
            if observer is None or not has_content
            else observer.doing(Kind.RECEIVE, "content", upload) as activity,
            self._storage.writer(upload, write.start, claimed.claim.fence) if has_content else _no_writer() as writer,
        ):
            transfer = _Transfer(claimed, upload, write, writer, limits, self._now, self._progress)
            with self._receiving(claimed, transfer, write.start, activity):
                upload = transfer.run(body, room, lambda: self._listener.add(claimed))
        if upload != claimed.upload:
            if not (body.is_overlong and write.is_fatal_beyond_length):
                upload = rules.finish_if_ready(upload)
            # One statement for both, if nothing remains to be done with the upload.
            is_last = upload.status is Status.ACTIVE and not self._has_listeners("post_save")
            claimed.save(upload, last=is_last)
        if not is_repeated:
            self._call_hook("post_save", claimed.upload)
        if body.is_overlong:
            raise rules.overlong(claimed.upload, write, room)
        if not body.is_whole and not claimed.upload.is_whole:
            raise _cut_off(body, claimed.upload)

    @contextmanager
    def _receiving(
        self, claimed: ClaimedUpload, transfer: _Transfer, start: int, activity: Activity | None
    ) -> Iterator[None]:
        """Let newer requests find the transfer until the context ends."""
        claimed.is_receiving, claimed.transfer = True, transfer
        try:
            yield
        finally:
            if activity is not None:
                activity.note("request.offset", start)
                activity.note("request.size", transfer.position - start)
            claimed.is_receiving = False
            self._listener.discard(claimed)


def _cut_off(body: Body, upload: Upload) -> BodyIncomplete:
    """Return the error for a body that was cut off, after what counts of it was saved."""
    return (ServerStopping if body.is_stopped else BodyIncomplete)(upload.offset)


class _NoWriter:
    """Stands in for a writer if there is no content, so that a finished upload is not opened for writing."""

    capabilities = WriterCapabilities()

    def write(self, block: bytes | memoryview, /) -> None:
        raise AssertionError("This request has no room for content.")

    def flush(self) -> JSONObject:
        raise AssertionError("Nothing was written.")


def _no_writer() -> AbstractContextManager[Writer]:
    return nullcontext(_NoWriter())


class _Transfer:
    """The transfer of one body.

    The request's own thread waits for content. The thread that has the *turn* takes what has arrived: usually the same
    one, but also that of a newer request, so that nothing that has arrived is lost.
    """

    def __init__(
        self,
        claimed: ClaimedUpload,
        upload: Upload,
        write: Write,
        writer: Writer,
        limits: Limits,
        now: Clock,
        progress: Progress | None,
    ) -> None:
        self._claimed = claimed
        self._upload = upload  # with the length that the write declares, which is not saved yet
        self._write = write
        self._writer = writer
        self._paced, self._noting, self._pipes = writer.capabilities
        self._limits = limits
        self._now = now
        self._position = write.start
        self._hashers = self._new_hashers()
        self._is_guarded = write.is_guarded
        self._turn = threading.Lock()
        self._waiting: list[None] = []  # one item for each newer request that waits for the turn
        self._incoming: Incoming | None = None
        self._must_leave = False
        self._has_left = False
        self._has_ended = False
        self._failure: BaseException | None = None  # of storing a block on behalf of another request
        self._shown_at = -_SHOW_EVERY
        self._progress = progress
        self._reported = write.start  # the position that on_progress was told last
        self._told_at = time.monotonic()

    @property
    def position(self) -> int:
        """The position in the upload up to which content was taken."""
        return self._position

    def run(self, body: Body, room: int, before_waiting: Callable[[], object]) -> Upload:
        """Transfer the whole body. Return the upload with its bytes, the last of which are not saved yet.

        :param before_waiting: Called once, before the first wait for content.
        """
        self._is_guarded = self._is_guarded or body.counts_only_whole
        try:
            if self._noting is not None:
                self._noting.is_counted = not self._is_guarded
            if not self._hashers and self._pipes is not None:
                body.unseen = room
            between = self._between(body.watch)
            if self._is_guarded:
                body.grace = _GRACE
            with body.incoming(room) as incoming:
                self._incoming = incoming
                self._take_all(incoming, before_waiting, between)
        except ClaimLost:
            raise
        except BaseException:
            # Not only exceptions: gunicorn's sync worker ends long requests with SystemExit.
            with self._turn:
                if not self._has_left:
                    self._has_ended = True
                    self._salvage()
            raise
        if self._is_guarded:
            try:
                self._verify(body, room)
            except ResumableError:
                if self._paced:
                    self._salvage()
                raise
        if body.is_stopped and self._upload.offset < self._position == self._claimed.upload.offset:
            return self._claimed.upload  # to save it again would take time, in which more may come in vain
        upload = self._advanced()
        if not body.is_whole:
            return upload
        try:
            return rules.end_here(upload, self._write, self._limits)
        except (LengthConflict, TooLarge):
            self._claimed.save(upload)  # the bytes count, only what the client says about them is wrong
            raise

    def _take_all(
        self, incoming: Incoming, before_waiting: Callable[[], object], between: Callable[[], object] | None
    ) -> None:
        is_first = True
        while True:
            with self._turn:
                has_more = self._take_some(incoming)
                if self._failure is not None:
                    raise self._failure
                if self._has_ended:
                    return
            if between is not None:
                between()
            if self._waiting:
                time.sleep(_YIELD)  # a lock alone is not fair
            if has_more and not (is_first and self._position - self._write.start > _MESSAGES_FROM):
                continue
            if incoming.is_stopping:
                with self._turn:
                    if not self._has_left and not self._has_ended:
                        self._save_all()
                continue
            if is_first:
                before_waiting()
                is_first = False
                if has_more:
                    continue
            before = time.monotonic()
            incoming.wait()
            if time.monotonic() - before >= _SILENCE:
                self._look_around()

    def _between(self, watch: Watch | None) -> Callable[[], object] | None:
        """Return what to call after each block, without the turn, if anybody wants to know the progress."""
        progress = self._progress
        if watch is None and progress is None:
            return None

        def tell() -> None:
            if watch is not None:
                self._tell_watch(watch)
            if progress is not None and self._position != self._reported:
                self._reported = self._position
                progress.report(self._upload, self._write, self._reported, self._limits)

        return tell

    def _tell_watch(self, watch: Watch) -> None:
        """Save the upload and report its progress, if it is time to."""
        if time.monotonic() - self._told_at < watch.every or self._is_guarded:
            return
        with self._turn:
            if self._has_left or self._has_ended:
                return
            self._told_at = time.monotonic()
            self._save_all()
            told = self._claimed.upload
        watch.tell(told)

    def _take_some(self, incoming: Incoming) -> bool:
        """Take the next block, if this thread has the turn. Return whether another one is likely to be there."""
        if self._must_leave and not self._has_left:
            self._leave()
        if self._has_left:
            raise ClaimLost
        block = None if self._has_ended else incoming.take()
        if block is None:
            incoming.pause()
            return False
        if not block:
            self._has_ended = True
            return False
        self._store(block)
        self._save_if_due()
        if len(block) >= _LARGE or incoming.has_ended:
            return True
        incoming.pause()
        return False

    def _look_around(self) -> None:
        """Check that the upload is still held, and save if that is due, although nothing has arrived."""
        with self._turn:
            if not self._has_left and not self._has_ended:
                if self._noting is not None:
                    self._noting.check()
                self._save_if_due()

    # --- for newer requests ---

    @property
    def is_withheld(self) -> bool:
        return self._incoming is not None and self._incoming.withholds

    def show(self, patience: float, *, answer: bool = False) -> Upload | None:
        with self._others_turn(patience) as has_turn:
            if not has_turn:
                return self._claimed.upload
            if self._is_over():
                return None
            now = time.monotonic()
            if self._paced and not answer and now - self._shown_at < _SHOW_EVERY:
                return self._claimed.upload
            self._shown_at = now
            self._save_all(anyway=answer)
            return self._claimed.upload

    def leave(self, patience: float, *, at: int | None) -> Upload | None:
        with self._others_turn(patience) as has_turn:
            if not has_turn:
                self._must_leave = True
                return None
            if self._is_over():
                return None
            offset = self._claimed.upload.offset if self._is_guarded else self._position
            if at is None or at == offset:
                self._leave()
            else:
                self._save_all(anyway=True)  # so that the request that asked sees that it was heard
            return self._claimed.upload

    def stop(self) -> None:
        """End the body here, because the server stops. What counts of it is then saved by the request itself.

        If the request is busy, or needs all of its body, it finds out by itself.
        """
        if self._is_guarded:
            return
        with self._others_turn(0) as has_turn:
            incoming = self._incoming
            if not has_turn or incoming is None or self._is_over():
                return
            deadline = time.monotonic() + _STOPPING
            while True:
                before = self._position
                self._save_all()
                if self._is_over():
                    return
                if self._position == before or time.monotonic() > deadline:
                    break
            if not incoming.stop():
                self._leave()  # the request may wait for a long time, but nobody has to wait for it

    @contextmanager
    def _others_turn(self, patience: float) -> Iterator[bool]:
        self._waiting.append(None)
        try:
            has_turn = self._turn.acquire(timeout=patience)
        finally:
            self._waiting.pop()
        try:
            yield has_turn
        finally:
            if has_turn:
                self._turn.release()

    def _is_over(self) -> bool:
        """Take everything that has arrived. Return whether nothing more can come."""
        incoming = self._incoming
        if incoming is None or self._has_ended or self._has_left:
            return True
        deadline = time.monotonic() + _DRAINING
        end = self._position + _DRAIN
        while self._position < end and time.monotonic() < deadline:
            block = incoming.take()
            if block is None:
                incoming.pause()
                return False
            if not block:
                self._has_ended = True
                return True
            try:
                self._store(block)
            except BaseException as error:
                # The block is lost. The next one must not be stored in its place.
                self._has_ended, self._failure = True, error
                incoming.interrupt()
                return True
        return False

    def _leave(self) -> None:
        """Save what counts, and release the upload."""
        self._has_left = True
        self._salvage(last=True)
        if self._incoming is not None:
            self._incoming.interrupt()

    # --- within a turn ---

    def _save_all(self, *, anyway: bool = False) -> None:
        """Save everything that has arrived and counts."""
        upload = self._claimed.upload if self._is_guarded else self._so_far(*self._kept())
        if anyway or upload != self._claimed.upload:
            self._claimed.save(upload)
            if self._paced:
                self._paced.saved()

    def _salvage(self, *, last: bool = False) -> None:
        """Save what counts of a write that ended early."""
        with suppress(ClaimLost, Unavailable):
            if self._paced:
                self._claimed.save(self._so_far(*self._paced.conclude(counts=not self._is_guarded)), last=last)
            else:
                self._claimed.save(self._postponed() if self._is_guarded else self._advanced(), last=last)

    def _store(self, block: bytes | memoryview | Piped) -> None:
        if isinstance(block, Piped):
            assert self._pipes is not None
            self._pipes.write_piped(block)
        else:
            self._writer.write(block)
            for hasher in self._hashers.values():
                hasher.update(block)
        self._position += len(block)

    def _save_if_due(self) -> None:
        """Save the progress from time to time, for other requests and because the claim expires."""
        if self._paced:
            if self._paced.is_due or self._claimed.is_due:
                self._claimed.save(self._so_far(*self._paced.checkpoint(counts=not self._is_guarded)))
                self._paced.saved()
        elif self._claimed.is_due:
            # tus 1.0, "Checksum": content does not count until it is verified.
            self._claimed.save(self._postponed() if self._is_guarded else self._advanced())

    def _postponed(self) -> Upload:
        """Return the upload as it was saved, with the time that arriving content gives it."""
        return rules.postpone(self._claimed.upload, self._limits, self._now())

    def _kept(self) -> tuple[int, JSONObject]:
        """Make this write's bytes durable. Return their number and the storage's new data."""
        size = self._position - self._write.start
        if size == 0:
            return 0, self._claimed.upload.storage
        return size, self._writer.flush()

    def _advanced(self) -> Upload:
        """Return the upload with everything written so far, which is made durable before it is reported."""
        if self._position == self._upload.offset:
            return self._upload
        return self._so_far(*self._kept())

    def _so_far(self, size: int, stored: JSONObject) -> Upload:
        """Return the upload with the first ``size`` bytes of this write, or as it was saved if none of them count."""
        if size == 0:
            return rules.with_storage(self._postponed() if self._is_guarded else self._claimed.upload, stored)
        start = self._write.start
        upload = rules.advance(self._upload, start, start + size, self._limits, self._now())
        return rules.with_storage(upload, stored)

    def _new_hashers(self) -> dict[str, Hasher]:
        if self._write.checksum is not None:
            return {self._write.checksum.algorithm: self._write.checksum.hasher()}
        # The trailer names its algorithm after the content only.
        return {name: make() for name, make in ALGORITHMS.items()} if self._write.checksum_in_trailer else {}

    # --- at the end ---

    def _verify(self, body: Body, room: int) -> None:
        if body.is_overlong:
            raise rules.overlong(self._claimed.upload, self._write, room)
        if not body.is_whole:
            raise _cut_off(body, self._claimed.upload)
        checksum = self._write.checksum or self._trailing_checksum(body)
        if checksum is not None:
            checksum.check(self._hashers[checksum.algorithm])

    def _trailing_checksum(self, body: Body) -> Checksum | None:
        if not self._write.checksum_in_trailer:
            return None
        value = body.trailer("Upload-Checksum")
        if value is None:
            raise InvalidRequest("The Trailer header announced Upload-Checksum, but the body ended without it.")
        return Checksum.from_header(value)
