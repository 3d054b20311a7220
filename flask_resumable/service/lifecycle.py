"""The steps that lead an upload from one status to the next.

Each step first does what must be durable, then saves the next status together with what the app's hook writes. If a
crash interrupts a step, the upload keeps a status from which :meth:`Lifecycle.catch_up` repeats it.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from functools import partial
from typing import Any

from ..core import upload as rules
from ..core.answer import Answer
from ..core.checksum import announced_digest
from ..core.printable import printable
from ..core.replacing import replace
from ..core.upload import Limits
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import BytesLost
from ..errors import InvalidRequest
from ..errors import RemovalRefused
from ..errors import ResumableError
from ..errors import TooLarge
from ..errors import UploadExpired
from ..errors import UploadLocked
from ..errors import UploadNotFound
from ..errors import UploadRejected
from ..interfaces import Hooks
from ..interfaces import StateRepository
from ..interfaces import Storage
from ..interfaces.observer import Observer
from ..interfaces.observer import Removal
from .claims import ClaimedUpload
from .claims import Claims
from .claims import Clock
from .claims import LeaseKeeper
from .digests import digest_of
from .moving import Mover

logger = logging.getLogger(__package__)

_BLOCK = 1024 * 1024  # bytes to read at a time for a digest


class Lifecycle:
    """Leads claimed uploads through their lifecycle.

    :param completed_ttl: How long a complete upload can be found by its key, for clients that lost the last response.
    """

    def __init__(
        self,
        repository: StateRepository,
        storage: Storage,
        hooks: Hooks,
        claims: Claims,
        keeper: LeaseKeeper,
        now: Clock,
        observer: Observer,
        *,
        completed_ttl: timedelta,
    ) -> None:
        self._repository = repository
        self._storage = storage
        self._hooks = hooks
        self._claims = claims
        self._keeper = keeper
        self._now = now
        self._observer = observer
        self._completed_ttl = completed_ttl
        self._mover = Mover(repository, storage, now)

    def accept(self, claimed: ClaimedUpload) -> None:
        """Go from NEW to ACTIVE, if ``on_create`` agrees."""
        try:
            with self._keeper.keeping(claimed):
                self._step(claimed, claimed.upload.with_status(Status.ACTIVE), "on_create")
                if (needs_less := rules.with_less_reserved(claimed.upload)) is not claimed.upload:
                    claimed.save(needs_less)
        except Exception:
            self._unmake(claimed)
            raise
        self._observer.created(claimed.upload)

    def _unmake(self, claimed: ClaimedUpload) -> None:
        """Remove an upload that has no bytes yet."""
        try:
            self._repository.remove(claimed.upload, claimed.claim)
        except RemovalRefused as error:  # on_create committed rows that refer to it, and then failed
            self._keep_tombstone(claimed, claimed.upload, error)

    def catch_up(self, claimed: ClaimedUpload) -> None:
        """Bring the upload as far as its bytes allow, including steps that a crash or a failed hook interrupted."""
        if claimed.upload.status is Status.NEW:
            self.accept(claimed)
        if claimed.upload.is_final and claimed.upload.status is Status.ACTIVE:
            self._assemble(claimed)
        ready = rules.finish_if_ready(claimed.upload)
        if ready is not claimed.upload:
            claimed.save(ready)
        if claimed.upload.status is Status.FINISHING:
            self._finish(claimed)

    def _finish(self, claimed: ClaimedUpload) -> None:
        """Go from FINISHING to COMPLETE: publish the bytes, call the app's hook, then save."""
        upload = claimed.upload
        with self._keeper.keeping(claimed):
            try:
                stored = self._storage.finish(upload, claimed.claim.fence)
            except BytesLost as error:
                logger.error(
                    "Upload %s was received completely, but only the first %d of its %d bytes are still there, so the "
                    "client must send the rest again. If on_complete moved the file, use upload.move_to() instead.",
                    *(upload.id, error.offset, upload.length),
                )
                claimed.save(rules.truncated(upload, error.offset))
                raise
            done = self._remembered_as(rules.completed(rules.with_storage(upload, stored)))
            try:
                self._check_digest(done)
                with self._mover.completing(claimed, done) as done:
                    self._step(claimed, done, None if upload.is_partial else "on_complete", last=True)
            except UploadRejected:
                # A client that finds uploads by key would send the last chunk again and mistake a new upload for this.
                until = self._remembered_as(upload).expires_at if upload.client_key else None
                self.discard(claimed, remembered_until=until)
                raise
        self._observer.completed(claimed.upload)
        if not upload.is_partial:
            self._call_once("post_complete", claimed.upload)
        self._prolong_memory(done)
        if upload.is_partial and self._assemble_finals_of(upload.id):
            claimed.upload = self._repository.get(upload.id)  # its expiry has changed

    def _check_digest(self, upload: Upload) -> None:
        """Compare the bytes with the digest that the client has announced for all of them, if it has.

        :raises UploadRejected: They differ. There is no telling which request was damaged, so the upload is lost.
        """
        announced = announced_digest(upload.metadata)
        if announced is None or upload.is_partial:
            return
        with self._storage.open(upload) as stream:
            found = digest_of(stream, announced.algorithm, upload.length, _BLOCK)
        if not hmac.compare_digest(found, announced.digest.hex()):
            raise UploadRejected(400, "The upload does not match its digest and was discarded; send it again.")

    def _remembered_as(self, upload: Upload) -> Upload:
        """Return an upload that has ended, with the time until which its key stays taken, if it has one."""
        return upload if upload.client_key is None else replace(upload, expires_at=self._now() + self._completed_ttl)

    def _prolong_memory(self, upload: Upload) -> None:
        """Extend the time for which an upload is remembered, if ``on_complete`` took a large part of it."""
        if upload.client_key is None or upload.expires_at is None:
            return
        now = self._now()
        if upload.expires_at - now < self._completed_ttl / 2:
            with suppress(ResumableError):  # the upload is complete, even if this fails
                self._repository.amend(upload.id, rules.only_for(upload, self._remembered_as), now=now)

    def _step(self, claimed: ClaimedUpload, upload: Upload, name: str | None, *, last: bool = False) -> None:
        """Save the next status together with what the hook writes, or neither. Then send the signal."""
        hook = self._hooks.named(name) if name else None
        if hook is not None and name == "on_create":
            hook = _limiting(hook, upload)
        if hook is None:
            claimed.save(upload, last=last)
        else:
            claimed.save_with_hook(upload, hook, last=last)
        if name:
            self.observe(name, claimed.upload)

    def remove(self, claimed: ClaimedUpload, why: Removal, *, remembered_until: datetime | None = None) -> None:
        """Remove an upload for good. After a crash it is in DELETING, and the cleaner continues.

        If it was created with a token that has not expired, a tombstone keeps the token from being used again.

        :param why: What observers are told.
        :param remembered_until: Keep the record as a tombstone until then.
        :raises RemovalRefused: The database refuses to delete the record; the upload is unchanged.
        """
        if claimed.upload.status is Status.GONE:
            return self._repository.remove(claimed.upload, claimed.claim)
        if claimed.upload.status is not Status.DELETING:
            # Removed bytes cannot be restored, so ask the database first.
            self._repository.rehearse_removal(claimed.upload, claimed.claim)
        self._remove(claimed, why, remembered_until)

    def _memory_of(self, upload: Upload, wanted: datetime | None) -> datetime | None:
        """Return until when a tombstone must be kept, or ``None`` if there is no need for one."""
        if upload.signed_until is None or upload.signed_until <= self._now():
            return wanted
        return upload.signed_until if wanted is None else max(wanted, upload.signed_until)

    def discard(self, claimed: ClaimedUpload, *, remembered_until: datetime | None = None) -> None:
        """Remove an upload that was refused: its bytes in any case, and its record if the database allows it.

        ``pre_delete`` cannot prevent that. It is called only because it may remove rows that refer to the record.
        """
        try:
            return self.remove(claimed, Removal.REFUSED, remembered_until=remembered_until)
        except RemovalRefused:
            with self._keeper.keeping(claimed):
                try:
                    self.call_hook("pre_delete", claimed.upload)
                except UploadRejected:
                    pass
                except Exception:
                    logger.exception("pre_delete of upload %s failed; the upload is removed anyway.", claimed.upload.id)
        self._remove(claimed, Removal.REFUSED, remembered_until)

    def _remove(self, claimed: ClaimedUpload, why: Removal, remembered_until: datetime | None) -> None:
        self._remove_bytes_and_record(claimed, self._memory_of(claimed.upload, remembered_until))
        self._observer.removed(claimed.upload, why)

    def _remove_bytes_and_record(self, claimed: ClaimedUpload, remembered_until: datetime | None) -> None:
        if claimed.upload.status is not Status.DELETING:
            claimed.save(self._leaving(claimed.upload, remembered_until))
        with self._keeper.keeping(claimed):
            self._storage.delete(claimed.upload)
            if remembered_until is not None:
                self._remember(claimed, claimed.upload, remembered_until)
                return self.call_hook("post_delete", claimed.upload)
            try:
                self._repository.remove(claimed.upload, claimed.claim, self._hooks.named("post_delete"))
            except RemovalRefused as error:
                self._keep_tombstone(claimed, claimed.upload, error)
                self.call_hook("post_delete", claimed.upload)
            else:
                self.observe("post_delete", claimed.upload)

    def _keep_tombstone(self, claimed: ClaimedUpload, upload: Upload, error: RemovalRefused) -> None:
        """Keep the record of a removed upload, for the rows that refer to it, until the database can delete it."""
        logger.warning(
            "Upload %s was removed, but its record could not be deleted yet: %s", upload.id, printable(error.reason)
        )
        self._remember(claimed, upload, self._now())

    @staticmethod
    def _remember(claimed: ClaimedUpload, upload: Upload, until: datetime) -> None:
        """Go to GONE: the record becomes a tombstone."""
        claimed.save(replace(upload.with_status(Status.GONE), expires_at=until), last=True)

    def _leaving(self, upload: Upload, remembered_until: datetime | None) -> Upload:
        """Return the upload in DELETING. If it has a key or a token, also set until when that stays taken."""
        leaving = replace(upload.with_status(Status.DELETING), reserved=None)
        if upload.client_key is None and upload.signed_until is None:
            return leaving
        now = self._now()
        return replace(leaving, expires_at=remembered_until or min(upload.expires_at or now, now))

    def resume_removal(self, claimed: ClaimedUpload) -> None:
        """Continue a removal that was interrupted, and leave a tombstone if one was wanted."""
        upload = claimed.upload
        has_key = upload.client_key is not None or upload.signed_until is not None
        is_over = upload.expires_at is not None and upload.expires_at <= self._now()
        why = Removal.EXPIRED if is_over and upload.client_key is None else Removal.DELETED  # the best guess
        if not has_key or upload.expires_at is None or is_over:
            self.remove(claimed, why)
        elif upload.status is Status.DELETING:
            self.remove(claimed, why, remembered_until=upload.expires_at)

    # --- concatenation ---

    def parts_of(self, upload: Upload, *, unfinished: bool) -> list[Upload]:
        """Return the parts of a final upload, and check that the client may use them."""
        assert upload.concat is not None
        found = {part: self._part(part, upload.owner) for part in dict.fromkeys(upload.concat.parts)}
        for part in found.values():
            rules.check_alive(part, self._now())
            if not part.is_partial:
                raise InvalidRequest("Upload-Concat lists an upload that was not created as a partial upload.")
            if not unfinished and part.status is not Status.COMPLETE:
                raise InvalidRequest("Upload-Concat lists an upload that is not complete; send the rest of it first.")
        return [found[part] for part in upload.concat.parts]

    def _part(self, part_id: str, owner: str | None) -> Upload:
        part = self._repository.get(part_id)
        if not part.is_visible_to(owner):
            raise UploadNotFound(part_id)
        return part

    def _assemble(self, claimed: ClaimedUpload) -> None:
        """Fill a final upload from its parts, once all of them are complete."""
        concatenation = self._storage.capabilities.concatenation
        if concatenation is None:
            raise InvalidRequest("This storage does not support concatenation.")
        try:
            parts = self.parts_of(claimed.upload, unfinished=True)
        except (UploadNotFound, UploadExpired):
            raise UploadExpired("A part of this upload has expired or was removed; create a new one.") from None
        try:
            upload = rules.assemble(claimed.upload, parts, Limits())
        except TooLarge:  # the parts whose lengths were not known before
            self.discard(claimed)
            raise
        is_copied = all(part.status is Status.COMPLETE for part in parts)
        if is_copied:
            assert upload.length is not None
            with self._keeper.keeping(claimed):
                stored = concatenation.concatenate(upload, parts, claimed.claim.fence)
            upload = rules.with_storage(upload, stored)
            upload = rules.advance(upload, 0, upload.length or 0, Limits(), self._now())
        if upload != claimed.upload:
            claimed.save(upload)
        if is_copied:
            self._use(parts)

    def _use(self, parts: list[Upload]) -> None:
        """Let parts expire that have been copied."""
        for part in {part.id: part for part in parts}.values():
            now = self._now()
            if rules.expire_soon(part, now) is not part:
                with suppress(UploadLocked, UploadNotFound):  # it expires later, or is gone already
                    self._repository.amend(part.id, partial(rules.expire_soon, now=now), now=now, known=part)

    def _assemble_finals_of(self, part_id: str) -> bool:
        """Complete the final uploads that were waiting for this part. Return whether there were any.

        Spec: tus 1.0 "Concatenation-Unfinished".
        """
        is_used = False
        for final in self._repository.awaiting(part_id):
            # Check before claiming: of two parts that are completed together, the later one must not be locked out.
            if self.outlook(final)[1]:
                try:
                    with self._claims.take(final.id) as claimed:
                        is_used = True
                        self.catch_up(claimed)
                except (UploadLocked, UploadNotFound, UploadExpired, UploadRejected, TooLarge):
                    continue  # of no concern to the client that sent this part, which gets its own response
                except Exception:
                    logger.exception("Upload %s could not be completed; complete_pending tries again.", final.id)
        return is_used

    def outlook(self, final: Upload) -> tuple[Upload, bool]:
        """Return a waiting final upload with its length, if that is known by now, and whether a step is due.

        A step is due when all parts are complete, or when one of them will never be.
        """
        try:
            parts = self.parts_of(final, unfinished=True)
            known = rules.assemble(final, parts, Limits())
        except (UploadNotFound, UploadExpired, TooLarge):
            return final, True
        return known, all(part.status is Status.COMPLETE for part in parts)

    # --- hooks ---

    def call_hook(self, name: str, upload: Upload) -> None:
        """Call a hook that changes no status, and send the signal."""
        hook = self._hooks.named(name)
        if hook is not None:
            self._repository.call(upload, hook)
        self.observe(name, upload)

    def _call_once(self, name: str, upload: Upload) -> None:
        """Call a hook that reports what has happened. If it fails, nobody would call it again."""
        try:
            self.call_hook(name, upload)
        except Exception:
            logger.exception("%s of upload %s failed. It is not called again.", name, upload.id)

    def has_listeners(self, name: str) -> bool:
        """Whether the app has a hook or signal receivers of this name."""
        return self._hooks.named(name) is not None or self._hooks.observer(name) is not None

    def observe(self, name: str, upload: Upload) -> None:
        observer: Callable[[object], object] | None = self._hooks.observer(name)
        if observer is not None:
            self._repository.call(upload, observer)


def _limiting(hook: Callable[[Any], Answer | None], upload: Upload) -> Callable[[Any], Answer | None]:
    """Return ``on_create``, followed by a check of the maximum size that it has set."""

    def call(instance: Any) -> Answer | None:
        answer = hook(instance)
        instance.max_size = rules.limit_size(upload, instance.max_size).max_size
        return answer

    return call
