"""How much is done for a request of tus, in calls into the package: the same on every machine, however busy."""

from __future__ import annotations

import pytest

from bench.calls import Calls
from bench.calls import measure


@pytest.fixture(scope="module")
def calls() -> dict[str, Calls]:
    """Of each sort of request."""
    return measure()


@pytest.mark.parametrize(("title", "most"), [("POST", 226), ("HEAD", 72), ("PATCH", 284), ("last PATCH", 418)])
def test_a_request_takes_no_more_calls_than_it_did(calls: dict[str, Calls], title: str, most: int) -> None:
    """In an app with one hook. With ``python -m bench.calls TITLE`` you see where they go."""
    assert calls[title].total() <= most, calls[title].most_common(20)
