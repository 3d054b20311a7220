"""The way of one request's content into the storage.

Whatever happens on the way (the client leaves, the disk fills up, the worker is told to stop), what was stored before
it is saved, so that the client goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextlib import closing
from contextlib import nullcontext
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from typing import cast

from .abilities import Paced
from .abilities import TakesPiped
from .errors import BodyIncomplete
from .errors import ClaimLost
from .errors import InvalidRequest
from .errors import ResumableError
from .errors import TooLarge
from .errors import Unavailable
from .holding import Clock
from .holding import Hold
from .interfaces import Body
from .interfaces import Piped
from .interfaces import StateRepository
from .interfaces import Storage
from .interfaces import Writer
from .sansio import upload as rules
from .sansio.checksum import ALGORITHMS
from .sansio.checksum import Checksum
from .sansio.checksum import Hasher
from .sansio.upload import JSONObject
from .sansio.upload import Limits
from .sansio.upload import Status
from .sansio.upload import Upload
from .sansio.upload import Write

SAVE_EVERY_BYTES = 64 * 1024 * 1024
SAVE_EVERY = timedelta(seconds=1)


class Receiver:
    """Streams bodies into a storage and saves how far it got."""

    def __init__(
        self,
        repository: StateRepository,
        storage: Storage,
        call_hook: Callable[[str, Upload], None],
        is_heard: Callable[[str], bool],
        now: Clock,
    ) -> None:
        self._repository = repository
        self._storage = storage
        self._call_hook = call_hook
        self._is_heard = is_heard
        self._now = now

    def receive(self, hold: Hold, write: Write, body: Body, limits: Limits) -> None:
        """Store the content of one request and leave ``hold.upload`` at its end.

        :raises OffsetMismatch: And whatever else :func:`~flask_resumable.sansio.upload.begin` refuses.
        :raises BodyIncomplete: The body was cut; what came counts, unless a checksum guards it.
        :raises ChecksumMismatch: Nothing of the body counts.
        :raises TooLarge: The body went on past the end of the upload; the bytes up to there count.
        :raises ClaimLost: A newer request has taken over.
        """
        upload, room = rules.begin(hold.upload, write, limits, self._now())
        has_content = write.size != 0 and room > 0
        is_repeated = not has_content and upload == hold.upload  # the answer to something that is done was lost
        if not is_repeated:
            self._call_hook("pre_save", hold.upload)
        self._repository.let_go()
        with self._storage.writer(upload, write.start, hold.claim.fence) if has_content else _no_writer() as writer:
            upload = _Transfer(hold, upload, write, writer, limits, self._now).run(body, room)
        if upload != hold.upload:
            upload = rules.settle(upload)
            # One statement for both, where nothing is to be done with the upload afterwards.
            is_last = upload.status is Status.ACTIVE and not self._is_heard("post_save")
            hold.save(upload, last=is_last)
        if not is_repeated:
            self._call_hook("post_save", hold.upload)
        if body.is_overlong:
            raise TooLarge(f"The content passes the end of the upload, at {hold.upload.offset} bytes.", room)
        if not body.is_whole and not hold.upload.is_whole:
            raise BodyIncomplete(hold.upload.offset)


def _no_writer() -> AbstractContextManager[Writer]:
    """For requests that bring no content: a finished upload is not opened for writing just because it was asked."""
    return nullcontext(cast(Writer, None))


class _Transfer:
    """One body on its way."""

    def __init__(self, hold: Hold, upload: Upload, write: Write, writer: Writer, limits: Limits, now: Clock) -> None:
        self._hold = hold
        self._upload = upload  # with a length that the write declares, though not saved yet
        self._write = write
        self._writer = writer
        # Not isinstance(), which takes longer with a protocol than a small write.
        self._paced = cast(Paced, writer) if hasattr(writer, "checkpoint") else None
        self._limits = limits
        self._now = now
        self._position = write.start
        self._saved = write.start
        self._saved_at: datetime = now()

    def run(self, body: Body, room: int) -> Upload:
        """Move the whole body; the upload with its bytes, the last of them not saved yet."""
        hashers = self._hashers()
        is_guarded = self._write.is_guarded or body.counts_only_whole
        try:
            if not hashers and hasattr(self._writer, "write_piped"):
                body.unseen = room
            with closing(body.blocks(room)) as blocks:
                for block in blocks:
                    self._store(block, hashers)
                    self._save_if_due(is_idle=not block, is_guarded=is_guarded)
        except ClaimLost:
            raise
        except BaseException:
            # Not only errors: gunicorn's sync worker ends a long request with SystemExit.
            self._salvage(is_guarded)
            raise
        if is_guarded:
            try:
                self._verify(body, hashers)
            except ResumableError:
                if self._paced:
                    self._salvage(is_guarded)
                raise
        return self._advanced()

    def _salvage(self, is_guarded: bool) -> None:
        """Save what counts of a write that has failed."""
        with suppress(ClaimLost, Unavailable):
            if self._paced:
                self._hold.save(self._so_far(*self._paced.conclude(counts=not is_guarded)))
            elif not is_guarded:
                self._hold.save(self._advanced())

    def _store(self, block: bytes | memoryview | Piped, hashers: dict[str, Hasher]) -> None:
        if isinstance(block, Piped):
            cast(TakesPiped, self._writer).write_piped(block)
        elif block:
            self._writer.write(block)
            for hasher in hashers.values():
                hasher.update(block)
        self._position += len(block)

    def _save_if_due(self, *, is_idle: bool, is_guarded: bool) -> None:
        """Save how far it is, every so often; when nothing comes, show that this request is alive, and learn if not."""
        now = self._now()
        if self._paced:
            if is_idle or self._paced.is_due:
                self._hold.save(self._so_far(*self._paced.checkpoint(counts=not is_guarded)))
                self._paced.saved()
            return
        if is_idle or self._position - self._saved >= SAVE_EVERY_BYTES or now - self._saved_at >= SAVE_EVERY:
            # tus 1.0, Checksum: until it is verified, the content does not count.
            self._hold.save(self._hold.upload if is_guarded else self._advanced())
            self._saved, self._saved_at = self._position, now

    def _advanced(self) -> Upload:
        """The upload with all that was written so far, made durable before it is reported."""
        if self._position == self._upload.offset:
            return self._upload
        return self._so_far(self._position - self._write.start, self._writer.flush())

    def _so_far(self, size: int, stored: JSONObject) -> Upload:
        """The upload with the first ``size`` bytes of this write; if none of them count, it stays as it was saved."""
        if size == 0:
            return rules.with_storage(self._hold.upload, stored)
        start = self._write.start
        upload = rules.advance(self._upload, start, start + size, self._limits, self._now())
        return rules.with_storage(upload, stored)

    def _hashers(self) -> dict[str, Hasher]:
        if self._write.checksum is not None:
            return {self._write.checksum.algorithm: self._write.checksum.hasher()}
        # A trailer names its algorithm only after the content.
        return {name: make() for name, make in ALGORITHMS.items()} if self._write.checksum_in_trailer else {}

    def _verify(self, body: Body, hashers: dict[str, Hasher]) -> None:
        if body.is_overlong:
            raise TooLarge("The content passes the end of the upload and was discarded.", self._write.start)
        if not body.is_whole:
            raise BodyIncomplete(self._hold.upload.offset)
        checksum = self._write.checksum or self._trailing_checksum(body)
        if checksum is not None:
            checksum.check(hashers[checksum.algorithm])

    def _trailing_checksum(self, body: Body) -> Checksum | None:
        if not self._write.checksum_in_trailer:
            return None
        value = body.trailer("Upload-Checksum")
        if value is None:
            raise InvalidRequest("The trailer announced Upload-Checksum, but the body ended without it.")
        return Checksum.from_header(value)
