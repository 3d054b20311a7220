"""The operations on uploads, each in the right order: bytes first, then state, then hooks, then the response.

Protocols, Flask and backends are not known here. They come in through :mod:`flask_resumable.interfaces`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import ExitStack
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from functools import partial

from ..core import upload as rules
from ..core.quota import Quota
from ..core.repeats import request_key_of
from ..core.replacing import replace
from ..core.upload import Creation
from ..core.upload import Limits
from ..core.upload import Status
from ..core.upload import Upload
from ..core.upload import Write
from ..errors import BeyondLength
from ..errors import BodyIncomplete
from ..errors import BytesLost
from ..errors import ChecksumMismatch
from ..errors import IdTaken
from ..errors import InvalidRequest
from ..errors import LengthConflict
from ..errors import TooLarge
from ..errors import UploadClosed
from ..errors import UploadExists
from ..errors import UploadExpired
from ..errors import UploadNotFound
from ..errors import UploadRejected
from ..interfaces import Body
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
from .lifecycle import Lifecycle
from .progress import Progress
from .repeats import Repeats
from .space import check_space
from .takeover import Listener
from .takeover import Takeover
from .transfer import Receiver


class UploadService:
    """Creates, reads, writes and deletes uploads."""

    def __init__(
        self,
        repository: StateRepository,
        storage: Storage,
        hooks: Hooks,
        *,
        lease: timedelta,
        completed_ttl: timedelta,
        cancelled_ttl: timedelta,
        now: Clock,
        is_stopping: Callable[[], bool] = lambda: False,
        observer: Observer | None = None,
        quotas: Callable[[str], Quota | None] | None = None,
        choose_id: Callable[[Upload], str | None] | None = None,
    ) -> None:
        self.repository = repository
        self.storage = storage
        self.now = now
        self.observer = observer = observer or Observer()
        self._hooks = hooks
        self._claims = Claims(repository, storage, lease=lease, now=now, observer=observer)
        self._keeper = LeaseKeeper(lease)
        self._lifecycle = Lifecycle(
            repository, storage, hooks, self._claims, self._keeper, now, observer, completed_ttl=completed_ttl
        )
        self._cancelled_ttl = cancelled_ttl
        self._quotas = quotas
        self._choose_id = choose_id
        self._takeover = Takeover(repository, storage, self._claims, now)
        listener = Listener(repository, self._claims, is_stopping)
        #: What calls on_progress, or ``None`` if the app has no such hook.
        self.progress = None if hooks.named("on_progress") is None else Progress(self._report_progress, now)
        self._receiver = Receiver(
            repository,
            storage,
            self._lifecycle.call_hook,
            self._lifecycle.has_listeners,
            listener,
            now,
            observer,
            self.progress,
        )
        self.call_hook = self._lifecycle.call_hook
        self.amend = self._claims.amend
        self.is_held = self._claims.is_held
        self.discard_stray = self._claims.discard_stray
        make_way = partial(self._takeover.make_way, None)
        self._repeats = Repeats(repository, self._claims, self._lifecycle, self.claiming, make_way, self._receive, now)
        self._chooser = storage.capabilities.placement

    def create(
        self,
        creation: Creation,
        *,
        owner: str | None,
        limits: Limits,
        content: tuple[Write, Body] | None = None,
        unfinished_parts: bool = True,
        created: Callable[[Upload], object] | None = None,
    ) -> Upload:
        """Create an upload, and store the content that came with the request.

        If a client repeats the request, this returns the upload of the first one, brought to where the first request
        would have brought it; see :class:`~flask_resumable.service.repeats.Repeats`.

        :param unfinished_parts: Whether the parts of a final upload may still be incomplete.
        :param created: Called with the upload once it exists, before its content is read.
        :raises UploadRejected: ``on_create`` or a method that chooses something refused; nothing was created.
        :raises IdTaken: Another upload has the id that the app chose.
        :raises TooLarge: The upload would exceed ``limits``; nothing was created.
        :raises TokenRefused: The request's token does not allow this, or the app requires one.
        :raises QuotaExceeded: The owner has too much in unfinished uploads.
        :raises KeyReused: The client used the same idempotency key for a different upload.
        :raises UploadLocked: An earlier, identical request took longer than this one could wait.
        """
        if creation.concat is not None and creation.concat.is_final:
            if content is not None and content[0].size != 0:
                raise UploadClosed("A final upload is concatenated from others and accepts no content.")
            content = None
        if (grant := creation.grant) is not None:
            creation, owner = rules.granted(creation), grant.owner
        request_key = request_key_of(creation, owner)

        def make() -> Upload:
            upload = rules.create(secrets.token_hex(16), creation, owner, limits, self.now())
            return self._made(replace(upload, request_key=request_key), limits, content, unfinished_parts, created)

        if request_key is None:
            return make()
        return self._repeats.once(request_key, creation, content, limits, make, created)

    def _made(
        self,
        upload: Upload,
        limits: Limits,
        content: tuple[Write, Body] | None,
        unfinished_parts: bool,
        created: Callable[[Upload], object] | None,
    ) -> Upload:
        if upload.is_final:
            upload = rules.assemble(upload, self._lifecycle.parts_of(upload, unfinished=unfinished_parts), limits)
        elif content is not None:
            rules.begin(upload, content[0], limits, self.now())  # refuse before anything is created
        quota = self._quota_of(upload)
        if quota is not None and upload.length is None and not upload.is_final:
            upload = replace(upload, max_size=limits.max_size_of(upload))  # which it reserves
        upload = self._placed(self._identified(upload))
        has_content = content is not None
        check_space(self.storage, upload, upload.length if content is None else upload.length or content[0].size)
        is_idle = not has_content and upload.length != 0
        with self._created(upload, has_content=has_content, is_idle=is_idle, quota=quota) as claimed:
            self._lifecycle.catch_up(claimed)
            if created is not None:
                created(claimed.upload)
            if content is not None:
                self._receive_first(claimed, *content, limits)
        return claimed.upload

    def look(
        self, upload_id: str, *, owner: str | None, may_have_overtaken: bool = False, ends_at_length: bool = False
    ) -> Upload:
        """Return the upload with everything that has arrived so far.

        A request that is receiving content carries on. If its connection was lost, the next write can use the offset
        that is returned. If it still receives content, the next write is told the new offset.

        :param may_have_overtaken: Whether an earlier request with content may have reached the server but not started
            yet. It is given a moment to start.
        :param ends_at_length: Whether this client takes an upload for complete that has reached its length. Then the
            upload is completed, even if another client has said that more would follow.
        :raises UploadNotFound: This owner has no such upload.
        :raises UploadExpired: The upload has expired.
        :raises UploadLocked: The upload is being completed right now.
        """
        upload = self.find(upload_id, owner=owner)
        if upload.is_expired(self.now()) and not self._claims.is_receiving(upload):
            raise UploadExpired
        if may_have_overtaken:
            upload = self._takeover.let_begin(upload)
        if upload.is_final and upload.status is Status.ACTIVE:
            upload, is_due = self._lifecycle.outlook(upload)
            if not is_due or upload.is_claimed(self.now()):  # a claimed one is being assembled
                return upload
        elif upload.is_receiving:
            before, upload = upload, self._takeover.look(upload)
            if upload.offset > before.offset:
                self.observer.rescued(upload, upload.offset - before.offset)
            if upload.status is Status.ACTIVE and self._is_busy(upload):
                return upload
        is_ended = ends_at_length and upload.awaits_completion and upload.is_whole
        if self._is_at_rest(upload) and not is_ended:
            return upload
        with self.claiming(upload_id, known=upload) as claimed:
            if is_ended and claimed.upload.is_whole and claimed.upload.status is Status.ACTIVE:
                claimed.save(replace(claimed.upload, awaits_completion=False))
            with suppress(BytesLost):  # the upload has gone back to where its bytes end
                self._lifecycle.catch_up(claimed)
            return claimed.upload

    def _is_busy(self, upload: Upload) -> bool:
        """Whether a request that seems to be alive is receiving more content."""
        return self._claims.is_held(upload) and not upload.is_ready

    def _is_at_rest(self, upload: Upload) -> bool:
        """Whether the record can be reported as it is: nobody is changing it, and no step is due."""
        if upload.status is Status.ACTIVE and not upload.is_final:
            return upload.is_released and not upload.is_ready
        return upload.status is Status.COMPLETE

    def write(self, upload_id: str, write: Write, body: Body, *, owner: str | None, limits: Limits) -> Upload:
        """Add content, and complete the upload if nothing is missing.

        :raises OffsetMismatch: The content does not start at the upload's offset.
        :raises BodyIncomplete: The client disconnected. What arrived is kept, unless a checksum covers it.
        :raises ClaimLost: A newer request has taken over.
        """
        with ExitStack() as stack:
            with self._claims.announced(upload_id):
                free = self._claims.take_free(upload_id, owner=owner)
                taken = (
                    self._claims.keep(free) if free is not None else self._taken_for(upload_id, write, owner, limits)
                )
                claimed = stack.enter_context(taken)
            self._lifecycle.catch_up(claimed)
            self._receive(claimed, write, body, limits)
            return claimed.upload

    def _taken_for(
        self, upload_id: str, write: Write, owner: str | None, limits: Limits
    ) -> AbstractContextManager[ClaimedUpload]:
        """Claim an upload for content, whatever state it is in and whoever holds it."""
        upload = self.find(upload_id, owner=owner)
        if not (
            limits.slides(upload) and self._claims.is_receiving(upload)
        ):  # otherwise its expiry is about to be postponed
            rules.check_alive(upload, self.now())
        make_way = partial(self._takeover.make_way, write.start)
        is_receiving = upload.status is Status.ACTIVE
        return self.claiming(upload_id, known=upload, make_way=make_way, is_receiving=is_receiving)

    def delete(self, upload_id: str, *, owner: str | None) -> None:
        """Remove an upload and its bytes, finished or not, and interrupt a request that is writing to it.

        If the client chose its key, a tombstone is left, so that late chunks do not bring the upload back.

        :raises UploadRejected: ``pre_delete`` or the database refused; the upload is unchanged.
        """
        upload = self.find(upload_id, owner=owner)
        with self.claiming(upload_id, known=upload, make_way=partial(self._takeover.make_way, None)) as claimed:
            until = None if upload.client_key is None else self.now() + self._cancelled_ttl
            self.remove(claimed, Removal.DELETED, remembered_until=until)

    def find(self, upload_id: str, *, owner: str | None) -> Upload:
        """Return the upload as it is recorded.

        :raises UploadNotFound: There is no such upload, or it does not belong to ``owner``.
        """
        upload = self.repository.get(upload_id)
        if not upload.is_visible_to(owner):
            raise UploadNotFound(upload_id)
        return upload

    def digest(self, upload: Upload, name: str, block_size: int) -> str:
        """Return a hex digest of the bytes received so far. It is remembered until more bytes arrive.

        :param name: A name that :func:`hashlib.new` accepts.
        :param block_size: How many bytes to read at a time.
        """
        known = self.repository.digest(upload, name)
        if known is None:
            with self.storage.open(upload) as stream:
                # A finished file is read to its end: its length may have changed when its chunks were merged.
                length = None if upload.status is Status.COMPLETE else upload.offset
                known = digest_of(stream, name, length, block_size)
            self.repository.remember_digest(upload, name, known)
        return known

    # --- for maintenance ---

    @contextmanager
    def claiming(
        self,
        upload_id: str,
        *,
        known: Upload | None = None,
        make_way: Callable[[Upload], Upload] | None = None,
        is_receiving: bool = False,
    ) -> Iterator[ClaimedUpload]:
        """Claim an upload for the context. See :meth:`Claims.take` for the parameters.

        :raises UploadNotFound: There is no such upload. If its removal was interrupted, it is now finished.
        """
        with self._claims.take(upload_id, known=known, make_way=make_way, is_receiving=is_receiving) as claimed:
            if claimed.upload.status in (Status.DELETING, Status.GONE):
                self._lifecycle.resume_removal(claimed)
                raise UploadNotFound(upload_id)
            yield claimed

    def remove(self, claimed: ClaimedUpload, why: Removal, *, remembered_until: datetime | None = None) -> None:
        """Remove an upload, if ``pre_delete`` agrees.

        :param why: What observers are told.
        :param remembered_until: Keep the record as a tombstone until then.
        :raises UploadRejected: ``pre_delete`` or the database refused.
        """
        with self._keeper.keeping(claimed):
            self.call_hook("pre_delete", claimed.upload)
        self._lifecycle.remove(claimed, why, remembered_until=remembered_until)

    def catch_up(self, upload_id: str) -> Upload:
        """Complete the steps that a crash or a failed hook interrupted."""
        with self.claiming(upload_id) as claimed:
            self._lifecycle.catch_up(claimed)
            return claimed.upload

    def pending(self, *, batch: int) -> Iterator[Sequence[Upload]]:
        """Yield batches of uploads that wait for the server to complete them, without those that it is completing."""
        after = ""
        while uploads := self.repository.pending(limit=batch, after=after):
            yield [upload for upload in uploads if not self.is_held(upload)]
            after = uploads[-1].id

    # --- internals ---

    def _report_progress(self, upload: Upload) -> None:
        try:
            self.call_hook("on_progress", upload)
        finally:
            self.repository.release_connection()  # more content is awaited

    def _identified(self, upload: Upload) -> Upload:
        """Return a new upload with the id that the app chose, if it did. Parts of final uploads have random ids."""
        if self._choose_id is None or upload.is_partial:
            return upload
        chosen = self._choose_id(upload)
        self.repository.release_connection()  # the app may have used its database to decide
        return upload if chosen is None else rules.with_chosen_id(upload, chosen)

    def _check_id(self, upload: Upload) -> None:
        """Find out whether a new upload was refused because another one has the id that the app chose for it.

        If another one has one of its keys, it is the one that the client means, whatever its id is.

        :raises IdTaken: Another one has the id.
        """
        if upload.stored_as == upload.id:
            return
        finders = ((self.repository.find, upload.client_key), (self.repository.find_request, upload.request_key))
        for find, key in finders:
            with suppress(UploadNotFound):
                if key is not None:
                    find(key)
                    return
        if upload.client_key is None and upload.request_key is None:
            raise IdTaken
        with suppress(UploadNotFound):  # a repeated request may have just removed the one with the key; it tries again
            self.repository.get(upload.id)
            raise IdTaken

    def _placed(self, upload: Upload) -> Upload:
        """Return the upload with the place that the app chose for its bytes, if there is a choice."""
        if self._chooser is None:
            return upload
        upload = replace(upload, storage=self._chooser.choose(upload))
        self.repository.release_connection()  # the app may have used its database to decide
        return upload

    def _quota_of(self, upload: Upload) -> Quota | None:
        """Return what the owner of a new upload may have, or ``None`` if that is not limited."""
        if self._quotas is None or upload.owner is None:
            return None
        quota = self._quotas(upload.owner)
        self.repository.release_connection()  # the app may have used its database to find out
        return quota

    @contextmanager
    def _created(
        self, upload: Upload, *, has_content: bool, is_idle: bool, quota: Quota | None
    ) -> Iterator[ClaimedUpload]:
        """Insert a new record. ``is_idle`` says that nothing else is to be done with it, unless there is a hook."""
        has_hook = self._hooks.named("on_create") is not None
        if not has_hook:
            upload = upload.with_status(Status.ACTIVE)
        is_done = is_idle and not has_hook and not upload.is_final
        try:
            born = self._claims.add(upload, is_free=is_done, is_receiving=has_content and not has_hook, quota=quota)
        except UploadExists:
            self._check_id(upload)
            raise
        with self._claims.keep(born) as claimed:
            if not has_hook:
                self._lifecycle.observe("on_create", upload)
                self.observer.created(upload)
            yield claimed

    def _receive(self, claimed: ClaimedUpload, write: Write, body: Body, limits: Limits) -> None:
        try:
            self._receiver.receive(claimed, write, body, limits)
        except BytesLost as error:
            claimed.save(rules.truncated(claimed.upload, error.offset))
            raise
        except BeyondLength:
            if write.is_fatal_beyond_length and claimed.upload.status is Status.ACTIVE:
                self._lifecycle.discard(claimed)
            else:
                self._lifecycle.catch_up(claimed)  # the bytes up to the end are kept, and may complete the upload
            raise
        except TooLarge:
            self._lifecycle.catch_up(claimed)
            raise
        self._lifecycle.catch_up(claimed)

    def _receive_first(self, claimed: ClaimedUpload, write: Write, body: Body, limits: Limits) -> None:
        """Receive the content of a creation. If it is cut off, respond anyway, because the client needs the URL."""
        if claimed.upload.max_size is not None:  # set by on_create, after the content was found not to be too large
            try:
                rules.begin(claimed.upload, write, limits, self.now())
            except TooLarge:
                self._lifecycle.discard(claimed)
                raise
        try:
            self._receive(claimed, write, body, limits)
        except BodyIncomplete:
            pass  # the response says how much was kept, if the client still gets it
        except (ChecksumMismatch, InvalidRequest, LengthConflict):
            self._lifecycle.discard(claimed)
            raise
        except UploadRejected:
            if claimed.upload.status is Status.ACTIVE:  # by pre_save or on_progress: the client never gets the URL
                self._lifecycle.discard(claimed)
            raise
