"""What an owner may have in unfinished uploads."""

from __future__ import annotations

from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any

import pytest

from flask_resumable.core.concat import Concat
from flask_resumable.core.quota import Quota
from flask_resumable.core.quota import reserve
from flask_resumable.core.quota import takes_quota
from flask_resumable.core.quota import Usage
from flask_resumable.core.quota import usage_of
from flask_resumable.core.replacing import replace
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import QuotaExceeded
from flask_resumable.errors import TooLarge

NOW = datetime(2026, 1, 2, tzinfo=UTC)
UPLOAD = Upload(id="0" * 32, length=10, status=Status.ACTIVE, created_at=NOW)
DEFERRED = replace(UPLOAD, length=None)
FINAL = replace(UPLOAD, concat=Concat("final;a", ("a",)))


@pytest.mark.parametrize("wrong", [{"uploads": True}, {"bytes": 1.5}, {"uploads": "3"}])
def test_a_quota_is_a_number(wrong: dict[str, Any]) -> None:
    """The error shows what the app said."""
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"Quota\({name}={value!r}\): must be an integer"):
        Quota(**wrong)
    Quota(uploads=-1, bytes=0)


def test_which_uploads_count() -> None:
    """Those that reserve anything, and have not expired."""
    assert takes_quota(replace(UPLOAD, reserved=0), NOW)
    assert not takes_quota(UPLOAD, NOW)
    assert not takes_quota(replace(UPLOAD, reserved=1, expires_at=NOW), NOW)
    assert takes_quota(replace(UPLOAD, reserved=1, expires_at=NOW + timedelta(microseconds=1)), NOW)


def test_what_uploads_take_together() -> None:
    """Complete parts count with their bytes only."""
    uploads = [
        replace(UPLOAD, reserved=3),
        replace(UPLOAD, reserved=None),
        replace(UPLOAD, reserved=5, status=Status.COMPLETE),
    ]
    assert usage_of(uploads) == Usage(uploads=2, bytes=8)
    assert usage_of([]) == Usage()


@pytest.mark.parametrize(
    ("upload", "quota", "used", "reserved", "max_size"),
    [
        (UPLOAD, Quota(), Usage(9, 99), 10, None),
        (UPLOAD, Quota(uploads=3), Usage(2), 10, None),
        (UPLOAD, Quota(bytes=10), Usage(), 10, None),
        (UPLOAD, Quota(bytes=15), Usage(1, 5), 10, None),
        (replace(UPLOAD, length=0), Quota(bytes=5), Usage(1, 5), 0, None),
        (replace(UPLOAD, length=0), Quota(bytes=-5), Usage(1, -5), 0, None),
        (DEFERRED, Quota(), Usage(), 0, None),
        (replace(DEFERRED, max_size=7), Quota(), Usage(), 7, 7),
        (DEFERRED, Quota(bytes=9), Usage(1, 8), 1, 1),
        (replace(DEFERRED, max_size=7), Quota(bytes=9), Usage(), 7, 7),
        (replace(DEFERRED, max_size=7), Quota(bytes=9), Usage(1, 4), 5, 5),
        (FINAL, Quota(bytes=1), Usage(9, 9), 0, None),
        (replace(FINAL, length=None), Quota(bytes=1), Usage(9, 9), 0, None),
    ],
)
def test_what_an_upload_reserves(
    upload: Upload, quota: Quota, used: Usage, reserved: int, max_size: int | None
) -> None:
    """Its length, or all that it may come to have; a final upload nothing, because its parts do."""
    assert reserve(upload, quota, used) == replace(upload, reserved=reserved, max_size=max_size)


@pytest.mark.parametrize(
    ("upload", "quota", "used", "error", "words"),
    [
        (UPLOAD, Quota(uploads=2), Usage(2), QuotaExceeded, "have 2 unfinished uploads, and may have at most 2;"),
        (UPLOAD, Quota(uploads=-1), Usage(), QuotaExceeded, "have 0 unfinished uploads, and may have at most 0;"),
        (FINAL, Quota(uploads=2), Usage(2), QuotaExceeded, "have 2"),
        (UPLOAD, Quota(bytes=9), Usage(), TooLarge, "at most 9 bytes"),
        (UPLOAD, Quota(bytes=-9), Usage(), TooLarge, "at most 0 bytes"),
        (replace(UPLOAD, length=1), Quota(bytes=0), Usage(), TooLarge, "at most 0 bytes"),
        (UPLOAD, Quota(bytes=15), Usage(1, 6), QuotaExceeded, "leave 9 of 15 bytes"),
        (UPLOAD, Quota(bytes=15), Usage(1, 16), QuotaExceeded, "leave 0 of 15 bytes"),
        (DEFERRED, Quota(bytes=15), Usage(1, 15), QuotaExceeded, "leave 0 of 15 bytes"),
        (DEFERRED, Quota(bytes=-5), Usage(), QuotaExceeded, "leave 0 of 0 bytes"),
    ],
)
def test_what_is_beyond_a_quota(upload: Upload, quota: Quota, used: Usage, error: type[Exception], words: str) -> None:
    """What will never fit is told from what does not fit now, with numbers that are never negative."""
    with pytest.raises(error, match=words) as caught:
        reserve(upload, quota, used)
    if isinstance(caught.value, TooLarge):
        assert caught.value.limit == max(0, quota.bytes or 0)
