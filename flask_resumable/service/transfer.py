"""The way of one request's content into the storage.

Whatever happens on the way (the client leaves, the disk fills up, the worker is told to stop, a newer request comes),
what has arrived before it is saved, so that the client goes on from there.
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
from ..core.upload import JSONObject
from ..core.upload import Limits
from ..core.upload import Status
from ..core.upload import Upload
from ..core.upload import Write
from ..errors import BodyIncomplete
from ..errors import ClaimLost
from ..errors import InvalidRequest
from ..errors import ResumableError
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
from .claims import ClaimedUpload
from .claims import Clock
from .takeover import Listener

_LARGE = 64 * 1024  # bytes of a block after which it is worth while to ask for more without waiting
_DRAIN = 64 * 1024 * 1024  # bytes that are taken in on another's behalf, at most
_DRAINING = 0.25  # seconds for that, at most
_SILENCE = 0.9  # seconds after which a request that gets nothing looks whether it is still wanted
_SHOW_EVERY = 1.0  # seconds between two times that a store is made to keep what does not fill a part
_YIELD = 0.001  # seconds


class Receiver:
    """Streams bodies into a storage and saves how far it got."""

    def __init__(
        self,
        repository: StateRepository,
        storage: Storage,
        call_hook: Callable[[str, Upload], None],
        has_listeners: Callable[[str], bool],
        listener: Listener,
        now: Clock,
    ) -> None:
        self._repository = repository
        self._storage = storage
        self._call_hook = call_hook
        self._has_listeners = has_listeners
        self._listener = listener
        self._now = now

    def receive(self, claimed: ClaimedUpload, write: Write, body: Body, limits: Limits) -> None:
        """Store the content of one request and leave ``hold.upload`` at its end.

        :raises OffsetMismatch: And whatever else :func:`~flask_resumable.core.upload.begin` refuses.
        :raises BodyIncomplete: The body was cut; what came counts, unless a checksum guards it.
        :raises ChecksumMismatch: Nothing of the body counts.
        :raises TooLarge: The body went on past the end of the upload; the bytes up to there count.
        :raises ClaimLost: A newer request has taken over.
        """
        upload, room = rules.begin(claimed.upload, write, limits, self._now())
        has_content = write.size != 0 and room > 0
        is_repeated = not has_content and upload == claimed.upload  # the answer to something that is done was lost
        if not is_repeated:
            self._call_hook("pre_save", claimed.upload)
        self._repository.release_connection()
        with self._storage.writer(upload, write.start, claimed.claim.fence) if has_content else _no_writer() as writer:
            transfer = _Transfer(claimed, upload, write, writer, limits, self._now)
            with self._receiving(claimed, transfer):
                upload = transfer.run(body, room, lambda: self._listener.add(claimed))
        if upload != claimed.upload:
            upload = rules.finish_if_ready(upload)
            # One statement for both, where nothing is to be done with the upload afterwards.
            is_last = upload.status is Status.ACTIVE and not self._has_listeners("post_save")
            claimed.save(upload, last=is_last)
        if not is_repeated:
            self._call_hook("post_save", claimed.upload)
        if body.is_overlong:
            raise TooLarge(f"The content passes the end of the upload, at {claimed.upload.offset} bytes.", room)
        if not body.is_whole and not claimed.upload.is_whole:
            raise BodyIncomplete(claimed.upload.offset)

    @contextmanager
    def _receiving(self, claimed: ClaimedUpload, transfer: _Transfer) -> Iterator[None]:
        """Let newer requests find the transfer for the length of the block."""
        claimed.is_receiving, claimed.transfer = True, transfer
        try:
            yield
        finally:
            claimed.is_receiving = False
            self._listener.discard(claimed)


class _NoWriter:
    """For requests that bring no content: a finished upload is not opened for writing just because it was asked."""

    capabilities = WriterCapabilities()

    def write(self, block: bytes | memoryview, /) -> None:
        raise AssertionError("There is room for nothing.")

    def flush(self) -> JSONObject:
        raise AssertionError("Nothing was written.")


def _no_writer() -> AbstractContextManager[Writer]:
    return nullcontext(_NoWriter())


class _Transfer:
    """One body on its way.

    The request's own thread waits for content. Whoever has the *turn* takes in what is there: that thread, or a newer
    request's, which is not to lose what has arrived.
    """

    def __init__(
        self, claimed: ClaimedUpload, upload: Upload, write: Write, writer: Writer, limits: Limits, now: Clock
    ) -> None:
        self._claimed = claimed
        self._upload = upload  # with a length that the write declares, though not saved yet
        self._write = write
        self._writer = writer
        self._paced, self._noting, self._pipes = writer.capabilities
        self._limits = limits
        self._now = now
        self._position = write.start
        self._hashers = self._new_hashers()
        self._is_guarded = write.is_guarded
        self._turn = threading.Lock()
        self._waiting: list[None] = []  # one for each newer request that wants it
        self._incoming: Incoming | None = None
        self._must_leave = False
        self._has_left = False
        self._has_ended = False
        self._shown_at = -_SHOW_EVERY
        self._watch: Watch | None = None
        self._told_at = time.monotonic()

    def run(self, body: Body, room: int, before_waiting: Callable[[], object]) -> Upload:
        """Move the whole body; the upload with its bytes, the last of them not saved yet.

        :param before_waiting: Called once, before it waits for content.
        """
        self._is_guarded = self._is_guarded or body.counts_only_whole
        try:
            if self._noting is not None:
                self._noting.is_counted = not self._is_guarded
            if not self._hashers and self._pipes is not None:
                body.unseen = room
            self._watch = body.watch
            with body.incoming(room) as incoming:
                self._incoming = incoming
                self._take_all(incoming, before_waiting)
        except ClaimLost:
            raise
        except BaseException:
            # Not only errors: gunicorn's sync worker ends a long request with SystemExit.
            with self._turn:
                if not self._has_left:
                    self._has_ended = True
                    self._salvage()
            raise
        if self._is_guarded:
            try:
                self._verify(body)
            except ResumableError:
                if self._paced:
                    self._salvage()
                raise
        upload = self._advanced()
        return rules.end_here(upload, self._write, self._limits) if body.is_whole else upload

    def _take_all(self, incoming: Incoming, before_waiting: Callable[[], object]) -> None:
        is_first = True
        while True:
            with self._turn:
                has_more = self._take_some(incoming)
                if self._has_ended:
                    return
                told = self._saved_for_watch()
            if told is not None and self._watch is not None:
                self._watch.tell(told)
            if self._waiting:
                time.sleep(_YIELD)  # a lock is not fair by itself
            if has_more:
                continue
            if is_first:
                before_waiting()
                is_first = False
            before = time.monotonic()
            incoming.wait()
            if time.monotonic() - before >= _SILENCE:
                self._look_around()

    def _saved_for_watch(self) -> Upload | None:
        """The upload as it is saved now, if it is time to tell somebody."""
        if self._watch is None or time.monotonic() - self._told_at < self._watch.every or self._is_guarded:
            return None
        self._told_at = time.monotonic()
        self._save_all()
        return self._claimed.upload

    def _take_some(self, incoming: Incoming) -> bool:
        """Take in the next block, in one's turn; whether there is most likely another one at once."""
        if self._must_leave and not self._has_left:
            self._leave()
        if self._has_left:
            raise ClaimLost
        block = None if self._has_ended else incoming.take()
        if block is None:
            return False
        if not block:
            self._has_ended = True
            return False
        self._store(block)
        self._save_if_due()
        return len(block) >= _LARGE

    def _look_around(self) -> None:
        """Nothing comes: show that this request is alive, and learn if nobody wants it any more."""
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
                self._save_all(anyway=True)  # whoever has asked is to see that it was heard
            return self._claimed.upload

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
        """Whether nothing more can come, once all that has arrived is taken in."""
        incoming = self._incoming
        if incoming is None or self._has_ended or self._has_left:
            return True
        deadline = time.monotonic() + _DRAINING
        end = self._position + _DRAIN
        while self._position < end and time.monotonic() < deadline:
            block = incoming.take()
            if block is None:
                return False
            if not block:
                self._has_ended = True
                return True
            self._store(block)
        return False

    def _leave(self) -> None:
        """Save what counts and let go of the upload."""
        self._has_left = True
        self._salvage(last=True)
        if self._incoming is not None:
            self._incoming.interrupt()

    # --- within a turn ---

    def _save_all(self, *, anyway: bool = False) -> None:
        """Save all that has arrived and counts, and go on."""
        upload = self._claimed.upload if self._is_guarded else self._so_far(*self._kept())
        if anyway or upload != self._claimed.upload:
            self._claimed.save(upload)
            if self._paced:
                self._paced.saved()

    def _salvage(self, *, last: bool = False) -> None:
        """Save what counts of a write that ends before its content does."""
        with suppress(ClaimLost, Unavailable):
            if self._paced:
                self._claimed.save(self._so_far(*self._paced.conclude(counts=not self._is_guarded)), last=last)
            else:
                self._claimed.save(self._claimed.upload if self._is_guarded else self._advanced(), last=last)

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
        """Save how far it is, rarely: for onlookers, and because a claim runs out."""
        if self._paced:
            if self._paced.is_due or self._claimed.is_due:
                self._claimed.save(self._so_far(*self._paced.checkpoint(counts=not self._is_guarded)))
                self._paced.saved()
        elif self._claimed.is_due:
            # tus 1.0, Checksum: until it is verified, the content does not count.
            self._claimed.save(self._claimed.upload if self._is_guarded else self._advanced())

    def _kept(self) -> tuple[int, JSONObject]:
        """How many bytes of this write are there, all of them durable now, and what the storage has to say of them."""
        size = self._position - self._write.start
        if size == 0:
            return 0, self._claimed.upload.storage
        return size, self._writer.flush()

    def _advanced(self) -> Upload:
        """The upload with all that was written so far, made durable before it is reported."""
        if self._position == self._upload.offset:
            return self._upload
        return self._so_far(*self._kept())

    def _so_far(self, size: int, stored: JSONObject) -> Upload:
        """The upload with the first ``size`` bytes of this write; if none of them count, it stays as it was saved."""
        if size == 0:
            return rules.with_storage(self._claimed.upload, stored)
        start = self._write.start
        upload = rules.advance(self._upload, start, start + size, self._limits, self._now())
        return rules.with_storage(upload, stored)

    def _new_hashers(self) -> dict[str, Hasher]:
        if self._write.checksum is not None:
            return {self._write.checksum.algorithm: self._write.checksum.hasher()}
        # A trailer names its algorithm only after the content.
        return {name: make() for name, make in ALGORITHMS.items()} if self._write.checksum_in_trailer else {}

    # --- at the end ---

    def _verify(self, body: Body) -> None:
        if body.is_overlong:
            raise TooLarge("The content passes the end of the upload and was discarded.", self._write.start)
        if not body.is_whole:
            raise BodyIncomplete(self._claimed.upload.offset)
        checksum = self._write.checksum or self._trailing_checksum(body)
        if checksum is not None:
            checksum.check(self._hashers[checksum.algorithm])

    def _trailing_checksum(self, body: Body) -> Checksum | None:
        if not self._write.checksum_in_trailer:
            return None
        value = body.trailer("Upload-Checksum")
        if value is None:
            raise InvalidRequest("The trailer announced Upload-Checksum, but the body ended without it.")
        return Checksum.from_header(value)
