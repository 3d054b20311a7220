"""Uploads by the keys that clients have for them: which upload a key stands for, now, for whoever comes with it.

A key is free again when its upload is over: expired, or remembered for long enough. Then tests find nothing, and
whoever comes with a chunk begins anew, after a short wait if somebody is removing the old upload just then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from ..core.upload import Creation
from ..core.upload import Limits
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import RemovalRefused
from ..errors import UploadExists
from ..errors import UploadExpired
from ..errors import UploadLocked
from ..errors import UploadNotFound
from .uploads import UploadService

PATIENCE = 25.0  # seconds that a request waits for another: less than gunicorn gives a sync worker for all it does
_POLL = (0.02, 0.25)  # seconds; at first, and at most


class Keys:
    """Finds uploads by key, makes them, completes them, and frees keys."""

    def __init__(self, service: UploadService) -> None:
        self._service = service
        self._repository = service.repository

    def look(self, key: str, limits: Limits) -> Upload | None:
        """The upload as far as it is, for a client that asks what it still has to send. Creates nothing.

        One that has all its bytes is brought to its end, unless somebody else is at that; this waits for nobody.

        :raises UploadNotFound: It was cancelled a moment ago, or refused.
        """
        upload = self._found(key)
        if upload is None:
            return None
        try:
            upload = self._finished(self._prolonged(upload, limits))
        except UploadLocked:
            return None  # its time is over in this moment
        except UploadNotFound:
            return self._found(key)  # removed in this moment; a tombstone would say why
        return self.present(upload)

    def prepare(self, creation: Creation, *, owner: str | None, limits: Limits) -> Upload:
        """The upload for a chunk that is coming: the one that is there, or a new one.

        :raises UploadNotFound: It was cancelled a moment ago, or refused.
        :raises UploadRejected: ``on_create`` refused.
        :raises UploadLocked: Another request creates it, or removes one that has expired, and takes too long.
        """
        return patiently(lambda: self._found_or_made(creation, owner, limits))

    def _found_or_made(self, creation: Creation, owner: str | None, limits: Limits) -> Upload:
        try:
            found = self._repository.find(creation.client_key or "")
        except UploadNotFound:
            try:
                return self._service.create(creation, owner=owner, limits=limits)
            except UploadExists:  # the first chunks of a file come together
                raise UploadLocked from None
        upload = self.present(found)
        if upload is None:
            self._forget(found)
            raise UploadLocked
        try:
            if upload.status is Status.NEW:
                return self._service.catch_up(upload.id)
            return self._finished(self._prolonged(upload, limits))
        except UploadNotFound:  # refused and removed, just now; this chunk asks for itself
            raise UploadLocked from None

    def current(self, upload: Upload) -> Upload:
        """The upload as others have left it.

        :raises UploadExpired: Its time was over, and nothing is left of it.
        :raises UploadNotFound: It has gone before its time.
        """
        try:
            return self._repository.get(upload.id)
        except UploadNotFound:
            if upload.is_expired(self._service.now()):
                raise UploadExpired from None
            raise

    def _finished(self, upload: Upload) -> Upload:
        """The upload, brought to its end if it waits for that and nobody is at it."""
        if not upload.is_due:
            return upload
        try:
            return self._service.catch_up(upload.id)
        except UploadLocked:
            return self._repository.get(upload.id)

    def completed(self, upload: Upload) -> Upload:
        """The upload, brought to its end if it waits for that, by whomever.

        :raises UploadLocked: That takes too long.
        """
        if not upload.is_due:
            return upload

        def complete() -> Upload:
            current = self.current(upload)
            return self._service.catch_up(upload.id) if current.is_due else current

        try:
            with suppress(UploadLocked):
                return self._service.catch_up(upload.id)
            return patiently(complete)
        except UploadNotFound:
            return self.current(upload)  # refused, and remembered as that

    def _found(self, key: str) -> Upload | None:
        """The upload that has the key; ``None`` if the key is free, or waits to be.

        :raises UploadNotFound: It was cancelled a moment ago, or refused.
        """
        try:
            upload = self._repository.find(key)
        except UploadNotFound:
            return None
        return self.present(upload)

    def present(self, upload: Upload) -> Upload | None:
        """The upload; ``None`` if its time is over, whether or not somebody is removing it right now.

        :raises UploadNotFound: It was cancelled a moment ago, or refused.
        """
        if self._is_over(upload):
            return None
        if upload.status in (Status.DELETING, Status.GONE):
            raise UploadNotFound(upload.id)
        return upload

    def _is_over(self, upload: Upload) -> bool:
        # FINISHING ends by itself. All others expire then, or are remembered until then.
        if upload.status is Status.FINISHING or upload.expires_at is None:
            return False
        return upload.expires_at <= self._service.now()

    def _prolonged(self, upload: Upload, limits: Limits) -> Upload:
        """The upload with time left for who comes back to it at the last moment.

        Else the chunks that a client has just been told of could go before it has sent the others.
        """

        if not self._is_near_its_end(upload, limits):
            return upload

        def prolong(current: Upload) -> Upload:
            if not self._is_near_its_end(current, limits):
                return current
            return replace(current, expires_at=limits.expiry(current, self._service.now()))

        return self._repository.amend(upload.id, prolong, now=self._service.now())

    def _is_near_its_end(self, upload: Upload, limits: Limits) -> bool:
        if upload.status is not Status.ACTIVE or upload.expires_at is None or upload.client_key is None:
            return False
        if not limits.slides(upload) or limits.expiration is None:
            return False
        left = upload.expires_at - self._service.now()
        return timedelta(0) < left < limits.expiration / 4

    def _forget(self, upload: Upload) -> None:
        """Free the key. What had it is known by its id alone from now on, and leaves by the cleaner, if at all."""
        with suppress(UploadNotFound):
            if upload.status not in (Status.DELETING, Status.GONE):
                with suppress(UploadLocked):
                    self._repository.amend(upload.id, self._without_key, now=self._service.now())
                    return
            try:
                with self._service.claiming(upload.id):
                    pass  # what is half removed has gone by this, and a claim of the dead has ended
            except RemovalRefused:  # something refers to a tombstone, which is no reason to refuse the file
                self._repository.amend(upload.id, self._without_key, now=self._service.now())

    def _without_key(self, upload: Upload) -> Upload:
        return replace(upload, client_key=None) if upload.client_key is not None and self._is_over(upload) else upload


def patiently(act: Callable[[], Upload]) -> Upload:
    """Do something, as soon as nobody else is at the upload.

    :raises UploadLocked: That takes too long.
    """
    deadline = time.monotonic() + PATIENCE
    pause, longest = _POLL
    while True:
        try:
            return act()
        except UploadLocked:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(1.5 * pause, longest)
