"""The fence of an upload on a local disk: who is kept out, who does not wait, and what is given back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from datetime import UTC
from pathlib import Path

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import BytesLost
from flask_resumable.errors import ClaimLost
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.local.fence import CLOSED
from flask_resumable.storage.local.fence import Fence


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the fence is."""
    return str(tmp_path / "upload.lock")


@pytest.fixture
def fence(path: str) -> Iterator[Fence]:
    """One that was put up just now."""
    with closing(Fence.open(path, expect_new=True)) as fence:
        assert fence.is_new
        yield fence


def test_a_fence_is_found_whatever_was_expected(fence: Fence, path: str) -> None:
    """Who expects to put it up meets the one that is there, and does not take it for its own."""
    for expect_new in (False, True):
        with closing(Fence.open(path, expect_new=expect_new)) as other:
            assert not other.is_new


def test_nobody_shares_a_fence_that_is_gone(fence: Fence, path: str) -> None:
    """It went between opening and locking it: its upload is over, though nobody closed this one."""
    os.unlink(path)
    with pytest.raises(ClaimLost), fence.shared():
        pass


@pytest.mark.parametrize("again", [False, True])
def test_nobody_shares_a_fence_that_is_closed(fence: Fence, path: str, again: bool) -> None:
    """Neither the first time nor later; and who was refused leaves no lock behind."""
    with fence.shared(again=again), closing(Fence.open(path)) as other, other.shared(again=again):
        pass
    with closing(Fence.open(path)) as other:
        other.raise_to(CLOSED)
    with pytest.raises(ClaimLost), fence.shared(again=again):
        pass
    with closing(Fence.open(path)) as other:
        other.held(CLOSED).__enter__()  # would wait for ever


def test_who_waits_for_a_chunk_learns_that_it_need_not(fence: Fence, path: str) -> None:
    """What is asked meanwhile ends the waiting; another chunk's place is free, and this one, too, afterwards."""
    asked: list[None] = []

    def check() -> None:
        asked.append(None)
        if len(asked) == 3:
            raise ClaimLost

    with closing(Fence.open(path)) as other:
        with other.alone_at(7):
            with pytest.raises(ClaimLost), fence.alone_at(7, check):
                pass
            with fence.alone_at(8, check):
                pass
        with fence.alone_at(7, check):
            pass
    assert len(asked) == 3


def test_a_writer_that_does_not_come_to_be_gives_all_back(tmp_path: Path) -> None:
    """Bytes are missing, or a newer claim was here: no file stays open, and none is locked."""
    storage = LocalStorage(tmp_path)
    upload = Upload(id="1" * 32, length=10, status=Status.ACTIVE, created_at=datetime(2026, 1, 2, tzinfo=UTC))
    with storage.writer(upload, 0, 5) as writer:
        writer.write(b"abc")
    before = len(os.listdir("/dev/fd"))
    for start, number, error in ((7, 6, BytesLost), (3, 1, ClaimLost)):
        with pytest.raises(error):
            storage.writer(upload, start, number)
    assert len(os.listdir("/dev/fd")) == before
    with storage.writer(upload, 3, 6) as writer:
        writer.write(b"def")
