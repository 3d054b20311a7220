"""Finds uploads by the keys that clients have chosen for them.

When an upload has expired, or was remembered for long enough, its key is free again. Then tests find nothing, and the
next chunk creates a new upload. It waits for a moment if another request is removing the old one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from ..core.upload import Creation
from ..core.upload import Limits
from ..core.upload import only_for
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import RemovalRefused
from ..errors import UploadExists
from ..errors import UploadExpired
from ..errors import UploadLocked
from ..errors import UploadNotFound
from .uploads import UploadService

PATIENCE = 25.0  # seconds that a request waits for another; shorter than the timeout of gunicorn's sync worker
_POLL = (0.02, 0.25)  # seconds; the first pause, and the longest


class Keys:
    """Finds, creates and completes uploads by key, and frees keys."""

    def __init__(self, service: UploadService) -> None:
        self._service = service
        self._repository = service.repository

    def look(self, key: str, limits: Limits) -> Upload | None:
        """Return the upload for a client that asks what is missing, or ``None`` if there is none.

        If it has all its bytes, it is completed, unless another request is doing so. This does not wait.

        :raises UploadNotFound: It was recently cancelled or refused.
        """
        upload = self._found(key)
        if upload is None:
            return None
        try:
            upload = self._finished(self._prolonged(upload, limits))
        except UploadLocked:
            return None  # it has just expired
        except UploadNotFound:
            return self._found(key)  # it was just removed; a tombstone says why
        return self.present(upload)

    def prepare(self, creation: Creation, *, owner: str | None, limits: Limits) -> Upload:
        """Return the upload for a chunk. Create it if there is none.

        :raises UploadNotFound: It was recently cancelled or refused.
        :raises UploadRejected: ``on_create`` refused.
        :raises UploadLocked: Another request is creating it or removing an expired one, and takes too long.
        """
        return patiently(lambda: self._found_or_made(creation, owner, limits))

    def _found_or_made(self, creation: Creation, owner: str | None, limits: Limits) -> Upload:
        try:
            found = self._repository.find(creation.client_key or "")
        except UploadNotFound:
            try:
                return self._service.create(creation, owner=owner, limits=limits)
            except UploadExists:  # the first chunks of a file arrive at the same time
                raise UploadLocked from None
        upload = self.present(found)
        if upload is None:
            self._forget(found)
            raise UploadLocked
        try:
            if upload.status is Status.NEW:
                return self._caught_up(upload)
            return self._finished(self._prolonged(upload, limits))
        except UploadNotFound:  # it was just refused and removed; try again for this chunk
            raise UploadLocked from None

    def current(self, upload: Upload) -> Upload:
        """Return the upload as other requests have left it.

        :raises UploadExpired: It expired and was removed.
        :raises UploadNotFound: It was removed before it expired.
        """
        try:
            return self.read(upload)
        except UploadNotFound:
            if upload.is_expired(self._service.now()):
                raise UploadExpired from None
            raise

    def _finished(self, upload: Upload) -> Upload:
        """Return the upload, completed if it is waiting for that and no other request is working on it."""
        if not upload.is_pending:
            return upload
        try:
            return self._caught_up(upload)
        except UploadLocked:
            return self.read(upload)

    def _caught_up(self, upload: Upload) -> Upload:
        return _same(upload, self._service.catch_up(upload.id))

    def read(self, upload: Upload) -> Upload:
        """Return the upload's record as it is now. Raises ``UploadNotFound``."""
        return _same(upload, self._repository.get(upload.id))

    def completed(self, upload: Upload) -> Upload:
        """Return the upload, completed if it is waiting for that, by this or another request.

        :raises UploadLocked: That takes too long.
        """
        if not upload.is_pending:
            return upload

        def complete() -> Upload:
            current = self.current(upload)
            return self._caught_up(upload) if current.is_pending else current

        try:
            with suppress(UploadLocked):
                return self._caught_up(upload)
            return patiently(complete)
        except UploadNotFound:
            return self.current(upload)  # it was refused, and left a tombstone

    def _found(self, key: str) -> Upload | None:
        """Return the upload that has the key, or ``None`` if the key is free or about to be.

        :raises UploadNotFound: It was recently cancelled or refused.
        """
        try:
            upload = self._repository.find(key)
        except UploadNotFound:
            return None
        return self.present(upload)

    def present(self, upload: Upload) -> Upload | None:
        """Return the upload, or ``None`` if it has expired, whether or not it is being removed.

        :raises UploadNotFound: It was recently cancelled or refused.
        """
        if self._is_over(upload):
            return None
        if upload.status in (Status.DELETING, Status.GONE):
            raise UploadNotFound(upload.id)
        return upload

    def _is_over(self, upload: Upload) -> bool:
        # FINISHING always ends. Others expire at that time, or are remembered until then.
        if upload.status is Status.FINISHING or upload.expires_at is None:
            return False
        return upload.expires_at <= self._service.now()

    def _prolonged(self, upload: Upload, limits: Limits) -> Upload:
        """Return the upload with a later expiry if it would expire soon.

        Otherwise, chunks that a client has just found could expire before it has sent the others.
        """
        if not self._is_near_its_end(upload, limits):
            return upload

        def prolong(current: Upload) -> Upload:
            if not self._is_near_its_end(current, limits):
                return current
            return replace(current, expires_at=limits.expiry(current, self._service.now()))

        return self._service.amend(upload.id, only_for(upload, prolong))

    def _is_near_its_end(self, upload: Upload, limits: Limits) -> bool:
        if upload.status is not Status.ACTIVE or upload.expires_at is None or upload.client_key is None:
            return False
        if not limits.slides(upload) or limits.expiration is None:
            return False
        left = upload.expires_at - self._service.now()
        return timedelta(0) < left < limits.expiration / 4

    def _forget(self, upload: Upload) -> None:
        """Free the key. From now on, its upload can be found only by its id, and the cleaner removes it."""
        with suppress(UploadNotFound):
            if upload.status not in (Status.DELETING, Status.GONE):
                with suppress(UploadLocked):
                    self._free_key(upload)
                    return
            try:
                with self._service.claiming(upload.id):
                    pass  # this completes a removal, and ends the claim of a dead process
            except RemovalRefused:  # rows refer to a tombstone, which is no reason to refuse the file
                self._free_key(upload)

    def _free_key(self, upload: Upload) -> None:
        self._service.amend(upload.id, only_for(upload, self._without_key))

    def _without_key(self, upload: Upload) -> Upload:
        return replace(upload, client_key=None) if upload.client_key is not None and self._is_over(upload) else upload


def _same(upload: Upload, found: Upload) -> Upload:
    """Return what was found by the id of ``upload``. Raises ``UploadNotFound`` if that now is another upload's."""
    if not found.is_same(upload):
        raise UploadNotFound(upload.id)
    return found


def patiently(act: Callable[[], Upload]) -> Upload:
    """Call ``act`` until no other request is working on the upload.

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
