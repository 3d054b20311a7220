"""A fence with a number that the record has lost, as after a power failure, keeps nobody out for good."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path

import pytest
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable.storage.local.fence import CLOSED
from flask_resumable.storage.local.fence import Fence
from flask_resumable.testing import UploadClient
from tests.flow.client import Flow
from tests.flow.client import Sample

CONTENT = bytes(range(200)) * 1000
TRIES = 2


@pytest.fixture
def raise_fence(app: Flask, tmp_path: Path) -> Callable[[int], None]:
    """Start the app, and return how to let the only fence be ahead."""
    app.config.update(RESUMABLE_UPLOAD_DIR=str(tmp_path / "uploads"), FLOW_ENABLED=True, RESUMABLE_DURABILITY="none")
    FlaskResumable(app)

    def make(number: int) -> None:
        (path,) = (tmp_path / "uploads" / ".partial").glob("*.lock")
        with closing(Fence.open(str(path))) as fence:
            fence.raise_to(number)

    return make


@pytest.mark.parametrize("number", [100, CLOSED])
@pytest.mark.parametrize("protocol", ["tus", "ietf"])
def test_an_upload_continues(app: Flask, raise_fence: Callable[[int], None], protocol: str, number: int) -> None:
    """Whether the record has lost many claims, or that the upload was finishing."""
    client = UploadClient(app.test_client(), protocol=protocol)
    sent = client.create(len(CONTENT))
    client.append(sent.url, CONTENT[:3000], offset=0)
    raise_fence(number)
    statuses = []
    for _ in range(TRIES):
        offset = client.offset(sent.url)
        assert offset in (3000, len(CONTENT))
        if offset == 3000:
            statuses.append(client.append(sent.url, CONTENT[offset:], offset=offset, last=True).status_code)
    assert client.offset(sent.url) == len(CONTENT), statuses


@pytest.mark.parametrize("number", [100, CLOSED])
def test_the_first_question_is_answered(app: Flask, raise_fence: Callable[[int], None], number: int) -> None:
    """Also if the record still has an older claim, whose request is gone with the power."""
    client = UploadClient(app.test_client())
    sent = client.create(len(CONTENT))
    client.append(sent.url, CONTENT[:3000], offset=0)
    now = datetime.now(UTC)
    app.extensions["resumable"].repository.claim(sent.url.rpartition("/")[2], now=now, until=now - timedelta(seconds=1))
    raise_fence(number)
    assert client.offset(sent.url) == 3000


@pytest.mark.parametrize("chunk_size", [1000, 90_000])
def test_chunks_continue(app: Flask, raise_fence: Callable[[int], None], chunk_size: int) -> None:
    """Those that come at once, and those that are written in place."""
    sample = Sample(CONTENT[: 2 * chunk_size], chunk_size)
    flow = Flow(app.test_client())
    assert flow.post(sample, 1).status_code == 200
    raise_fence(CLOSED)
    statuses = [flow.post(sample, 2).status_code for _ in range(TRIES)]
    assert statuses[-1] == 200, statuses


def test_a_fence_is_not_lowered_below_the_newest_claim(tmp_path: Path) -> None:
    """Nor at all if nobody may write; and nobody is asked if it is not ahead."""
    path = str(tmp_path / "upload.lock")
    with closing(Fence.open(path, expect_new=True)) as fence:
        fence.raise_to(9)
        fence.lower(9, lambda: pytest.fail("was asked"))
        fence.lower(3, lambda: None)
        fence.check(9)
        fence.lower(3, lambda: 12)
        fence.check(9)
        fence.lower(3, lambda: 5)
        fence.check(5)
