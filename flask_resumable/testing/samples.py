"""Uploads to test with."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any

from ..core.upload import Status
from ..core.upload import Upload
from ..errors import UploadLocked
from ..interfaces import Claim
from ..interfaces import StateRepository

# With a fraction, because a repository must keep milliseconds. It may keep more.
NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
SOON = NOW + timedelta(seconds=30)
LATER = NOW + timedelta(hours=1)


def id_of(number: int) -> str:
    """Return the id of a sample: 32 lower-case hex digits, like every id."""
    return f"{number:032x}"


def an_upload(number: int = 1, **changes: Any) -> Upload:
    """Return a sample of ten bytes, none of which have been received."""
    return replace(Upload(id=id_of(number), length=10, status=Status.ACTIVE, created_at=NOW), **changes)


def claim_free(repository: StateRepository, number: int = 1) -> tuple[Upload, Claim]:
    """Claim a sample until ``SOON``, unless it is claimed."""
    return repository.claim(id_of(number), now=NOW, until=SOON)


def take(repository: StateRepository, number: int = 1) -> tuple[Upload, Claim]:
    """Claim a sample until ``SOON``, even if it is claimed."""
    while True:
        known = repository.get(id_of(number))
        try:
            return repository.claim(id_of(number), now=NOW, until=SOON, known=known, over=known.fence)
        except UploadLocked:
            continue  # another claim was faster
