"""State in the memory of this process, lost when it exits. The reference for other repositories, and for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..core.answer import Answer
from ..core.processing import collecting_mark
from ..core.processing import Mark
from ..core.processing import Processing
from ..core.quota import Quota
from ..core.quota import reserve
from ..core.quota import takes_quota
from ..core.quota import usage_of
from ..core.selection import ALL
from ..core.selection import Selection
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import ClaimLost
from ..errors import UploadExists
from ..errors import UploadLocked
from ..errors import UploadNotFound
from ..interfaces import Claim
from ..interfaces import RepositoryCapabilities
from ..models.interface import UploadView


@dataclass(slots=True)
class _Record:
    upload: Upload
    digests: dict[str, str] = field(default_factory=dict)


class MemoryRepository:
    """Keeps records in a dictionary; implements :class:`~flask_resumable.interfaces.StateRepository`."""

    setting = "The database"

    def __init__(self) -> None:
        self.capabilities = RepositoryCapabilities(location=self)
        self._records: dict[str, _Record] = {}
        self._lock = threading.RLock()

    def is_in_memory(self) -> bool:
        return True

    def file(self) -> None:
        """Return ``None``, because there is no file."""

    def add(self, upload: Upload, *, until: datetime | None, by: str | None = None) -> Claim:
        with self._lock:
            if upload.id in self._records or any(_is_named_alike(upload, other) for other in self._all()):
                raise UploadExists
            fence = upload.fence + 1
            self._records[upload.id] = _Record(replace(upload, claimed_until=until, claimed_by=by, fence=fence))
        return Claim(upload.id, fence)

    def add_within(
        self, upload: Upload, quota: Quota, *, now: datetime, until: datetime | None, by: str | None = None
    ) -> tuple[Upload, Claim]:
        with self._lock:
            if upload.id in self._records or any(_is_named_alike(upload, other) for other in self._all()):
                raise UploadExists
            counted = [other for other in self._all() if other.owner == upload.owner and takes_quota(other, now)]
            upload = reserve(upload, quota, usage_of(counted))
            return upload, self.add(upload, until=until, by=by)

    def get(self, upload_id: str) -> Upload:
        return self._find(upload_id).upload

    def find(self, key: str) -> Upload:
        return self._first(lambda upload: upload.client_key == key, key)

    def find_request(self, request_key: str) -> Upload:
        return self._first(lambda upload: upload.request_key == request_key, request_key)

    def claim(
        self,
        upload_id: str,
        *,
        now: datetime,
        until: datetime,
        known: Upload | None = None,
        by: str | None = None,
        over: int | None = None,
    ) -> tuple[Upload, Claim]:
        with self._lock:
            record = self._find(upload_id)
            before = record.upload
            may_take = before.fence == over and (known is None or before.status is known.status)
            if before.is_claimed(now) and not may_take:
                raise UploadLocked
            self._change(record, replace(before, updated_at=now), until, by=by, fence=before.fence + 1)
            return before, Claim(upload_id, before.fence + 1)

    def claim_free(
        self, upload_id: str, *, owner: str | None, now: datetime, until: datetime, by: str | None = None
    ) -> tuple[Upload, Claim] | None:
        with self._lock:
            record = self._records.get(upload_id)
            if record is None or not record.upload.is_free(owner, now):
                return None
            _, claim = self.claim(upload_id, now=now, until=until, by=by)
            return record.upload, claim

    def save(self, upload: Upload, claim: Claim, *, until: datetime | None) -> None:
        with self._lock:
            record = self._held(claim)
            if upload.received != record.upload.received:
                record.digests.clear()
            self._change(record, upload, until)

    def amend(
        self, upload_id: str, change: Callable[[Upload], Upload], *, now: datetime, known: Upload | None = None
    ) -> Upload:
        with self._lock:
            record = self._find(upload_id)
            if record.upload.is_claimed(now):
                raise UploadLocked
            changed = change(record.upload)
            if changed is not record.upload:
                # A new fence, too, so that a holder that slept past the end of its claim cannot undo this.
                changed = replace(changed, updated_at=now)
                self._change(record, changed, None, fence=record.upload.fence + 1)
            return record.upload

    def renew(self, claim: Claim, *, until: datetime) -> None:
        with self._lock:
            record = self._held(claim)
            if record.upload.claimed_until is None:  # a renewal may come after the release
                raise ClaimLost
            self._change(record, record.upload, until)

    def release(self, claim: Claim) -> None:
        with self._lock:
            record = self._records.get(claim.upload_id)
            if record is not None and record.upload.fence == claim.fence:
                self._change(record, record.upload, None)

    def save_progress(self, upload: Upload) -> bool:
        with self._lock:
            record = self._records.get(upload.id)
            if record is None or record.upload.version != upload.version:
                return False
            record.digests.clear()
            record.upload = replace(record.upload, received=upload.received, version=upload.version + 1)
            return True

    def leave_message(self, upload: Upload, message: str) -> None:
        with self._lock:
            record = self._records.get(upload.id)
            if record is not None and record.upload.fence == upload.fence:
                record.upload = replace(record.upload, claim_message=message)

    def messages(self) -> Sequence[tuple[Claim, str]]:
        with self._lock:
            uploads = [record.upload for record in self._records.values()]
        return [
            (Claim(upload.id, upload.fence), upload.claim_message)
            for upload in uploads
            if upload.claim_message is not None
        ]

    def rehearse_removal(self, upload: Upload, claim: Claim) -> None:
        self._held(claim)

    def remove(self, upload: Upload, claim: Claim, hook: Callable[[Any], object] | None = None) -> None:
        with self._lock:
            self._held(claim)
            del self._records[claim.upload_id]
        if hook is not None:
            self.call(upload, hook)

    def save_with_hook(
        self, upload: Upload, claim: Claim, hook: Callable[[Any], Answer | None], *, until: datetime | None
    ) -> Upload:
        self._held(claim)
        view = UploadView(upload)
        with collecting_mark(upload.id) as mark:
            answer = hook(view)
        upload = replace(upload, answer=answer, max_size=view.max_size, processing=self._marked(upload, mark))
        self.save(upload, claim, until=until)
        return upload

    def call(self, upload: Upload, hook: Callable[[Any], object]) -> None:
        with collecting_mark(upload.id) as mark:
            hook(UploadView(upload))
        self._marked(upload, mark)

    def mark(self, upload_id: str, processing: Processing) -> bool:
        with self._lock:
            record = self._records.get(upload_id)
            if record is not None:
                record.upload = replace(record.upload, processing=processing)
            return record is not None

    def _marked(self, upload: Upload, mark: Mark) -> Processing | None:
        """Save a hook's mark, unless the upload was marked meanwhile."""
        with self._lock:
            record = self._records.get(upload.id)
            if mark.processing is not None and record is not None and record.upload.processing == upload.processing:
                record.upload = replace(record.upload, processing=mark.processing)
            return upload.processing if record is None else record.upload.processing

    def expired(self, now: datetime, *, limit: int, after: Upload | None = None) -> Sequence[Upload]:
        start = _removal(after) if after else None
        found = [upload for upload in self._all() if upload.removable_at and upload.removable_at <= now]
        return sorted((upload for upload in found if start is None or _removal(upload) > start), key=_removal)[:limit]

    def pending(self, *, limit: int, after: str = "") -> Sequence[Upload]:
        return self._page(
            (
                upload
                for upload in self._all()
                if upload.status is Status.FINISHING or (upload.status is Status.ACTIVE and upload.is_final)
            ),
            limit,
            after,
        )

    def list(self, selection: Selection = ALL, *, limit: int, after: str = "") -> Sequence[Upload]:
        return self._page(filter(selection.covers, self._all()), limit, after)

    def instance(self, upload_id: str) -> UploadView | None:
        record = self._records.get(upload_id)
        return None if record is None else UploadView(record.upload)

    def instances(self, selection: Selection, *, limit: int, after: str = "") -> Sequence[UploadView]:
        return [UploadView(upload) for upload in self.list(selection, limit=limit, after=after)]

    def awaiting(self, part_id: str) -> Sequence[Upload]:
        return [
            upload
            for upload in self._all()
            if upload.status is Status.ACTIVE and upload.concat is not None and part_id in upload.concat.parts
        ]

    def ids_with_unfinished_bytes(self, upload_ids: Sequence[str]) -> set[str]:
        wanted = set(upload_ids)
        return {
            upload.id
            for upload in self._all()
            if upload.id in wanted and (upload.status is not Status.COMPLETE or upload.is_partial)
        }

    def release_connection(self) -> None:
        """Do nothing, because there are no connections."""

    def digest(self, upload: Upload, name: str) -> str | None:
        record = self._records.get(upload.id)
        return None if record is None else record.digests.get(name)

    def remember_digest(self, upload: Upload, name: str, value: str) -> None:
        with self._lock:
            record = self._records.get(upload.id)
            is_same = record is not None and record.upload.is_same(upload)
            if record is not None and is_same and record.upload.received == upload.received:
                record.digests[name] = value

    def _find(self, upload_id: str) -> _Record:
        record = self._records.get(upload_id)
        if record is None:
            raise UploadNotFound(upload_id)
        return record

    def _held(self, claim: Claim) -> _Record:
        record = self._records.get(claim.upload_id)
        if record is None or record.upload.fence != claim.fence:
            raise ClaimLost
        return record

    def _first(self, is_wanted: Callable[[Upload], bool], wanted: str) -> Upload:
        for upload in self._all():
            if is_wanted(upload):
                return upload
        raise UploadNotFound(wanted)

    @staticmethod
    def _change(
        record: _Record, upload: Upload, until: datetime | None, *, by: str | None = None, fence: int | None = None
    ) -> None:
        before = record.upload
        record.upload = replace(
            upload,
            processing=before.processing,
            claimed_until=until,
            claimed_by=by or before.claimed_by,
            fence=fence or before.fence,
            claim_message=None,
            version=before.version + 1,
        )

    def _all(self) -> Sequence[Upload]:
        with self._lock:
            return [record.upload for record in self._records.values()]

    @staticmethod
    def _page(uploads: Iterable[Upload], limit: int, after: str) -> Sequence[Upload]:
        return sorted((upload for upload in uploads if upload.id > after), key=lambda upload: upload.id)[:limit]


def _is_named_alike(one: Upload, other: Upload) -> bool:
    if one.client_key is not None and one.client_key == other.client_key:
        return True
    return one.request_key is not None and one.request_key == other.request_key


def _removal(upload: Upload) -> tuple[datetime | None, str]:
    return upload.removable_at, upload.id
