"""Creations that are sent again, by a client that did not get the response or a proxy that did not wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from ..core.repeats import check_same
from ..core.repeats import is_wanted
from ..core.upload import Creation
from ..core.upload import Limits
from ..core.upload import only_for
from ..core.upload import Status
from ..core.upload import Upload
from ..core.upload import Write
from ..errors import BodyIncomplete
from ..errors import BytesLost
from ..errors import ClaimLost
from ..errors import UploadExists
from ..errors import UploadLocked
from ..errors import UploadNotFound
from ..interfaces import Body
from ..interfaces import Incoming
from ..interfaces import Piped
from ..interfaces import StateRepository
from .claims import ClaimedUpload
from .claims import Claims
from .claims import Clock
from .lifecycle import Lifecycle

PATIENCE = 25.0  # seconds to wait for the first request; proxies time out after 30 to 60, and clients then retry
_POLL = 0.05  # seconds

Content = tuple[Write, Body]
Receive = Callable[[ClaimedUpload, Write, Body, Limits], None]


class Claiming(Protocol):
    """See :meth:`~flask_resumable.service.uploads.UploadService.claiming`."""

    def __call__(
        self,
        upload_id: str,
        *,
        known: Upload | None = None,
        make_way: Callable[[Upload], Upload] | None = None,
        is_receiving: bool = False,
    ) -> AbstractContextManager[ClaimedUpload]: ...


class Repeats:
    """Finds the upload that an earlier, identical request created, and brings it to where that request would have.

    Hooks are therefore called once for all of these requests. While the first one is at work, the others wait for it.
    If it crashes or fails, the next one continues. Once the upload is removed or has expired, a new one is created.
    """

    def __init__(
        self,
        repository: StateRepository,
        claims: Claims,
        lifecycle: Lifecycle,
        claiming: Claiming,
        make_way: Callable[[Upload], Upload],
        receive: Receive,
        now: Clock,
    ) -> None:
        self._repository = repository
        self._claims = claims
        self._lifecycle = lifecycle
        self._claiming = claiming
        self._make_way = make_way
        self._receive = receive
        self._now = now

    def once(
        self,
        request_key: str,
        creation: Creation,
        content: Content | None,
        limits: Limits,
        make: Callable[[], Upload],
        created: Callable[[Upload], object] | None = None,
    ) -> Upload:
        """Return the upload that exists for this request, or create one with ``make``.

        :param created: Called with the existing upload before any content is read.
        :raises TokenRefused: The token has created another upload.
        :raises KeyReused: The existing upload was requested with another length or metadata.
        :raises UploadLocked: Another request is still creating it.
        """
        deadline = time.monotonic() + PATIENCE
        overtaken: ClaimLost | None = None  # a newer request with the same content took over before all had arrived
        while True:
            upload = self._known(request_key)
            if upload is None and overtaken:
                raise overtaken
            try:
                if upload is None:
                    return make()
                check_same(upload, creation, self._now())
                if overtaken:
                    return self._made_by_another(upload)
                if created is not None:
                    created(upload)
                    created = None
                return self._resumed(upload, content, limits)
            except UploadExists:  # another request has just created it
                continue
            except ClaimLost as error:
                overtaken = error
            except UploadNotFound:
                if upload is None:
                    raise
                continue  # another request has just removed it
            except UploadLocked:
                if upload is None:
                    raise
            if time.monotonic() > deadline:
                raise UploadLocked
            time.sleep(_POLL)

    def _known(self, request_key: str) -> Upload | None:
        """Return what an earlier request has created. Release the key if that has expired, and return ``None``.

        The key of a token is never released, because a token is used once.
        """
        try:
            upload = self._repository.find_request(request_key)
            is_signed = upload.signed_until is not None
            if is_signed or not upload.is_expired(self._now()) or self._claims.is_held(upload):
                return upload
            with suppress(UploadLocked):
                free = only_for(upload, lambda known: replace(known, request_key=None))
                self._claims.amend(upload.id, free)
                return None
            return upload
        except UploadNotFound:
            return None

    def _resumed(self, upload: Upload, content: Content | None, limits: Limits) -> Upload:
        """Bring the upload as far as possible and return it."""
        if upload.is_expired(self._now()):
            raise UploadLocked  # by the request that removes it
        brings_more = content is not None and is_wanted(upload, content[0])
        if not brings_more and self._is_at_rest(upload):
            return _with_content_read(upload, content)
        # A client that sends the content again has given up its earlier request. All other requests are waited for.
        make_way = self._make_way if brings_more else None
        with self._claiming(upload.id, known=upload, make_way=make_way, is_receiving=brings_more) as claimed:
            self._caught_up(claimed)
            if content is not None and is_wanted(claimed.upload, content[0]):
                with suppress(BodyIncomplete):  # the response says how much was kept
                    self._receive_rest(claimed, *content, limits)
                return claimed.upload
        return _with_content_read(claimed.upload, content)

    def _caught_up(self, claimed: ClaimedUpload) -> Upload:
        with suppress(BytesLost):  # the upload has gone back to where its bytes end
            self._lifecycle.catch_up(claimed)
        return claimed.upload

    def _made_by_another(self, upload: Upload) -> Upload:
        """Return the upload once the request that took it over is done."""
        if upload.status is Status.COMPLETE:
            return upload
        with self._claiming(upload.id, known=upload) as claimed:
            return self._caught_up(claimed)

    def _is_at_rest(self, upload: Upload) -> bool:
        """Whether the record can be reported as it is: no step is due or in progress."""
        if upload.is_final and upload.status is Status.ACTIVE:
            return not upload.is_claimed(self._now()) and not self._lifecycle.outlook(upload)[1]
        return upload.status is Status.COMPLETE or (upload.status is Status.ACTIVE and not upload.is_ready)

    def _receive_rest(self, claimed: ClaimedUpload, write: Write, body: Body, limits: Limits) -> None:
        """Receive what the upload lacks of content that starts at its first byte."""
        offset = claimed.upload.offset
        size = None if write.size is None else write.size - offset
        self._receive(claimed, replace(write, start=offset, size=size), _Rest(body, offset) if offset else body, limits)


def _with_content_read(upload: Upload, content: Content | None) -> Upload:
    """Read content that is not needed, because most clients do not read a response until they have sent everything."""
    if content is not None:
        write, body = content
        room = write.size if write.size is not None else upload.length or upload.offset
        with body.incoming(room) as incoming:
            while (block := incoming.take()) is None or block:
                if block is None:
                    incoming.wait()
    return upload


class _Rest:
    """A body without its first bytes; implements :class:`~flask_resumable.interfaces.Body`."""

    def __init__(self, body: Body, skipped: int) -> None:
        self._body = body
        self._skipped = skipped
        self.size = None if body.size is None else body.size - skipped
        self.unseen = 0
        self.counts_only_whole = body.counts_only_whole
        self.watch = body.watch
        self.grace = body.grace

    @contextmanager
    def incoming(self, room: int) -> Iterator[Incoming]:
        self._body.grace = self.grace
        with self._body.incoming(self._skipped + room) as incoming:
            yield _IncomingRest(self._body, incoming, self._skipped, self.unseen)

    @property
    def is_stopped(self) -> bool:
        return self._body.is_stopped

    @property
    def is_whole(self) -> bool:
        return self._body.is_whole

    @property
    def is_overlong(self) -> bool:
        return self._body.is_overlong

    def trailer(self, name: str) -> str | None:
        return self._body.trailer(name)


class _IncomingRest:
    """The content after the first bytes; implements :class:`~flask_resumable.interfaces.Incoming`."""

    def __init__(self, body: Body, incoming: Incoming, skipped: int, unseen: int) -> None:
        self._body = body
        self._incoming = incoming
        self._left = skipped
        self._unseen = unseen
        self.withholds = incoming.withholds
        self.wait = incoming.wait
        self.pause = incoming.pause
        self.interrupt = incoming.interrupt
        self.stop = incoming.stop
        self.close = incoming.close

    @property
    def has_ended(self) -> bool:
        return self._incoming.has_ended

    @property
    def is_stopping(self) -> bool:
        return self._incoming.is_stopping

    def take(self) -> bytes | memoryview | Piped | None:
        while self._left:
            block = self._incoming.take()
            if not block or isinstance(block, Piped):  # nothing stays in the kernel until skipping is done
                return block
            skipped = min(self._left, len(block))
            self._left -= skipped
            rest = memoryview(block)[skipped:]
            if not self._left:
                self._body.unseen = max(0, self._unseen - len(rest))
            if rest:
                return rest
        return self._incoming.take()
