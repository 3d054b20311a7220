"""Which uploads a query is about."""

from __future__ import annotations

from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any

import pytest

from flask_resumable.core.concat import Concat
from flask_resumable.core.processing import Processing
from flask_resumable.core.processing import ProcessingState
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.replacing import replace
from flask_resumable.core.selection import ALL
from flask_resumable.core.selection import Selection
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
UPLOAD = Upload(
    id="0" * 32, length=10, received=ByteRanges.prefix(4), status=Status.ACTIVE, created_at=NOW, expires_at=NOW
)
FAILED = Processing(ProcessingState.FAILED)


@pytest.mark.parametrize(
    ("wish", "changes", "is_covered"),
    [
        ({"status": Status.ACTIVE}, {}, True),
        ({"status": Status.NEW}, {}, False),
        ({"status": Status.GONE, "leaving": False}, {"status": Status.GONE}, True),
        ({"leaving": False}, {}, True),
        ({"leaving": False}, {"status": Status.GONE}, False),
        ({"leaving": False}, {"status": Status.DELETING}, False),
        ({}, {"status": Status.DELETING}, True),
        ({"parts": False}, {}, True),
        ({"parts": False}, {"concat": Concat("partial")}, False),
        ({"parts": False}, {"concat": Concat("final;a", ("a",))}, True),
        ({}, {"concat": Concat("partial")}, True),
        ({"owner": None}, {}, True),
        ({"owner": None}, {"owner": "a"}, False),
        ({"owner": "a"}, {"owner": "a"}, True),
        ({"owner": "a"}, {}, False),
        ({}, {"owner": "a"}, True),
        ({"processing": ProcessingState.FAILED}, {"processing": FAILED}, True),
        ({"processing": ProcessingState.READY}, {"processing": FAILED}, False),
        ({"processing": ProcessingState.READY}, {}, False),
        ({}, {"processing": FAILED}, True),
        ({"storages": frozenset({"a", "b"})}, {"storage": {"place": {"storage": "a"}}}, True),
        ({"storages": frozenset({"b"})}, {"storage": {"place": {"storage": "a"}}}, False),
        ({"storages": frozenset({None})}, {}, True),
        ({"storages": frozenset({"a"})}, {}, False),
        ({"created_before": NOW + MOMENT}, {}, True),
        ({"created_before": NOW}, {}, False),
        ({"larger_than": 9}, {}, True),
        ({"larger_than": 10}, {}, False),
        ({"larger_than": 0}, {"length": 0, "received": ByteRanges()}, False),
        ({"larger_than": 0}, {"length": None, "received": ByteRanges.prefix(1)}, True),
        ({"larger_than": 3}, {"length": None}, True),
        ({"larger_than": 4}, {"length": None}, False),
        ({"removable_at": NOW}, {}, True),
        ({"removable_at": NOW - MOMENT}, {}, False),
        ({"removable_at": NOW}, {"expires_at": None}, False),
        ({"removable_at": NOW}, {"claimed_until": NOW + MOMENT}, False),
        ({"removable_at": NOW}, {"claimed_until": NOW}, True),
        ({"stuck_at": NOW}, {}, False),
        ({"stuck_at": NOW}, {"status": Status.COMPLETE}, False),
        ({"stuck_at": NOW}, {"status": Status.GONE}, False),
        ({"stuck_at": NOW}, {"status": Status.NEW}, True),
        ({"stuck_at": NOW}, {"status": Status.FINISHING}, True),
        ({"stuck_at": NOW}, {"status": Status.DELETING}, True),
        ({"stuck_at": NOW}, {"status": Status.DELETING, "claimed_until": NOW + MOMENT}, False),
    ],
)
def test_what_a_selection_covers(wish: dict[str, Any], changes: dict[str, Any], is_covered: bool) -> None:
    """Each condition by itself, at its edge; and all of them have to be met."""
    upload = replace(UPLOAD, **changes)
    assert Selection(**wish).covers(upload) == is_covered
    assert ALL.covers(upload)
    assert not Selection(**{**wish, "created_before": NOW}).covers(upload)
