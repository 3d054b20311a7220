"""Compares the records with the bytes in the storage, without changing either."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from datetime import timedelta

from ..core.upload import LEAVING
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import Unavailable
from ..errors import UploadNotFound
from ..interfaces.capabilities import Verifies
from .orphans import without_record
from .uploads import UploadService

logger = logging.getLogger(__package__)

_LOOKS = 5  # attempts to check an upload that keeps changing
_WITHOUT_BYTES = (Status.NEW, *LEAVING)
_PAUSE = 0.1  # seconds to wait for a request that may be about to complete it


@dataclass(slots=True)
class Findings:
    """What a verification has found so far."""

    verified: int = 0
    busy: int = 0  # in use at every attempt, so that nothing can be said
    orphans: int = 0  # unfinished bytes without a record
    damaged: list[str] = field(default_factory=list)  # ids
    failed: list[str] = field(default_factory=list)  # ids of uploads that could not be checked


class Verifier:
    """Works through all records in batches, and asks the storage what is wrong with the bytes of each upload."""

    def __init__(self, service: UploadService, storage: Verifies, findings: Findings, *, batch: int) -> None:
        self._service = service
        self._storage = storage
        self._findings = findings
        self._batch = batch

    def run(self, *, orphans_after: timedelta) -> Iterator[tuple[str, list[str]]]:
        """Yield the id of each upload that was checked, and its problems. Then yield the orphans.

        :param orphans_after: The age from which unfinished bytes without a record count as orphans.
        """
        after = ""
        while uploads := self._service.repository.list(limit=self._batch, after=after):
            for upload in uploads:
                yield upload.id, self._verified(upload)
            after = uploads[-1].id
        yield from self._orphans(orphans_after)

    def _verified(self, upload: Upload) -> list[str]:
        try:
            problems = self._problems(upload)
        except UploadNotFound:  # it has just been removed
            return []
        except Exception:
            logger.exception("Upload %s could not be verified.", upload.id)
            self._findings.failed.append(upload.id)
            return []
        if problems is None:
            self._findings.busy += 1
            return []
        self._findings.verified += 1
        if problems:
            self._findings.damaged.append(upload.id)
        return problems

    def _problems(self, upload: Upload) -> list[str] | None:
        """Return the problems of an upload, or ``None`` if it is in use, so that nothing can be said.

        A record is out of date as soon as it is read: the bytes it lacks may have just been published or removed. So a
        problem counts only if the record is unchanged after the bytes were checked, and nobody holds the upload.
        """
        for _ in range(_LOOKS):
            problems = [] if upload.status in _WITHOUT_BYTES else self._storage.verify(upload)
            if not problems:
                return problems
            current = self._service.repository.get(upload.id)
            is_held = current.is_claimed(self._service.now())
            if current.version == upload.version and not is_held:
                return problems
            upload = current
            if is_held:
                time.sleep(_PAUSE)
        return None

    def _orphans(self, older_than: timedelta) -> Iterator[tuple[str, list[str]]]:
        found: list[str] = []
        try:
            for name, _ in self._service.storage.orphans(self._service.now() - older_than):
                found.append(name)
                if len(found) >= self._batch:
                    yield from self._unknown(found)
                    found = []
        except Unavailable:
            logger.exception("The storage could not be searched for orphans.")
            self._findings.failed.append("orphans")
        yield from self._unknown(found)

    def _unknown(self, found: list[str]) -> Iterator[tuple[str, list[str]]]:
        # As when removing them: orphans are listed before the records are queried, and records precede their bytes.
        unknown = without_record(self._service.repository, found)
        for name in dict.fromkeys(found):
            if name in unknown:
                self._findings.orphans += 1
                yield name, ["Unfinished bytes without a record."]
