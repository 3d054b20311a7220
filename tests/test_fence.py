"""The fence of an upload on a local disk: who is kept out, who does not wait, and what is given back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import closing
from datetime import datetime
from datetime import UTC
from pathlib import Path

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import BytesLost
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import UploadLocked
from flask_resumable.storage.local import fence as fences
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.local.fence import CLOSED
from flask_resumable.storage.local.fence import Fence
from flask_resumable.storage.local.locks import chunk_lock
from flask_resumable.storage.local.locks import ChunkLock
from flask_resumable.storage.local.locks import LockFile

from .own_time import set_time


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


def test_the_newest_claim_writes(fence: Fence, path: str) -> None:
    """It may come twice; older ones may neither come nor write, and one that nobody has told of may not write yet."""
    fence.raise_to(5)
    fence.raise_to(5)
    fence.check(5)
    with fence.held(5):
        pass
    for other in (4, 6):
        with pytest.raises(ClaimLost):
            fence.check(other)
        with pytest.raises(ClaimLost), fence.held(other):
            pass
    with pytest.raises(ClaimLost):
        fence.raise_to(4)
    fence.check(5)


def test_how_far_a_writer_got_is_beside_the_bytes(fence: Fence, path: str) -> None:
    """The next claim keeps it or begins elsewhere, and a fence that is only lowered keeps it, too."""
    assert Fence.progress(path) == (0, 0)
    fence.raise_to(5, 1000)
    assert Fence.progress(path) == (5, 1000)
    with fence.held(5):
        fence.note(1200)
    assert Fence.progress(path) == (5, 1200)
    fence.raise_to(7)
    assert Fence.progress(path) == (7, 1200)
    fence.lower(5, lambda: 6)
    assert Fence.progress(path) == (6, 1200)
    fence.raise_to(8, 300)
    assert Fence.progress(path) == (8, 300)
    assert os.path.getsize(path) == 32


def test_progress_is_unknown_without_a_whole_note(fence: Fence, path: str) -> None:
    """A fence that is not there, has no note, or is cut off says nothing."""
    assert Fence.progress(f"{path}.other") == (0, 0)
    fence.raise_to(5)
    assert Fence.progress(path) == (0, 0)
    fence.raise_to(5, 1000)
    os.truncate(path, 31)
    assert Fence.progress(path) == (0, 0)


def test_progress_is_known_of_an_upload_that_has_marks(fence: Fence, path: str) -> None:
    """What follows the note is not a part of it."""
    fence.raise_to(5, 1000)
    fence.mark(9, b"99999999")
    assert Fence.progress(path) == (5, 1000)


def test_others_may_use_a_fence_as_far_as_the_umask_allows(tmp_path: Path) -> None:
    """They need to read and write it; nobody needs to execute it."""
    before = os.umask(0o020)
    try:
        Fence.open(str(tmp_path / "new.lock"), expect_new=True).close()
    finally:
        os.umask(before)
    assert (tmp_path / "new.lock").stat().st_mode & 0o777 == 0o646


def test_progress_before_a_restart_of_the_machine_does_not_count(
    fence: Fence, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that were not synced may be missing; who wrote them is still known."""
    fence.raise_to(5, 1000)
    monkeypatch.setattr(fences, "boot", lambda: b"b" * 16)
    assert Fence.progress(path) == (5, 0)
    fence.raise_to(6, 1000)
    assert Fence.progress(path) == (6, 1000)


def test_a_fence_that_was_replaced_is_not_changed(fence: Fence, path: str) -> None:
    """The upload is over, and another one may have the path: neither file is touched."""
    fence.raise_to(5)
    os.rename(path, f"{path}.old")
    for _ in range(2):
        with pytest.raises(ClaimLost):
            fence.raise_to(6)
        fence.lower(3, lambda: pytest.fail("was asked"))
        fence.take_down(f"{path}.file")
        with pytest.raises(ClaimLost), fence.shared():
            pass
        fence.check(5)
        Fence.open(path).close()  # for the second round
    with closing(Fence.open(path)) as other:
        other.check(0)


def test_a_fence_is_only_taken_down_without_its_file(fence: Fence, path: str, tmp_path: Path) -> None:
    """With it, the upload has just begun. Without it, requests that have the fence open are locked out for good."""
    file = tmp_path / "upload.part"
    file.touch()
    with closing(Fence.open(path)) as late:
        fence.take_down(str(file))
        assert os.path.exists(path)
        fence.check(0)
        late.raise_to(3)
        file.unlink()
        fence.take_down(str(file))
        assert not os.path.exists(path)
        late.check(CLOSED)
        for wish in (late.held(3), late.shared(), late.shared(again=True)):
            with pytest.raises(ClaimLost), wish:
                pass


def test_a_fence_that_is_not_closed_can_be_shared_again(fence: Fence, path: str) -> None:
    """Between blocks only the number is looked at: it is closed before it is removed."""
    os.unlink(path)
    with fence.shared(again=True):
        pass


def _raised(fence: Fence) -> None:
    fence.raise_to(6)


def _lowered(fence: Fence) -> None:
    fence.lower(3, lambda: 4)


def _taken_down(fence: Fence) -> None:
    fence.take_down("/nowhere")


def _written(fence: Fence) -> None:
    with fence.held(5):
        pass


@pytest.mark.parametrize("act", [_raised, _lowered, _taken_down, _written])
@pytest.mark.parametrize("is_shared", [False, True])
def test_a_block_is_written_before_anything_else_happens(
    fence: Fence, path: str, act: Callable[[Fence], None], is_shared: bool
) -> None:
    """Whoever wants the fence waits until the block is written, and then gets it."""
    fence.raise_to(5)
    happened: list[str] = []

    def others() -> None:
        with closing(Fence.open(path)) as other:
            act(other)
        happened.append("other")

    thread = threading.Thread(target=others)
    block: AbstractContextManager[None] = fence.shared() if is_shared else fence.held(5)
    with block:
        thread.start()
        thread.join(0.05)
        fence.check(5)
        happened.append("block")
    thread.join(30)
    assert happened == ["block", "other"]


def test_a_refused_block_leaves_no_lock(fence: Fence, path: str) -> None:
    """The others would wait for ever."""
    fence.raise_to(5)
    with pytest.raises(ClaimLost), fence.held(4):
        pass
    with closing(Fence.open(path)) as other:
        other.raise_to(6)
        with pytest.raises(ClaimLost):
            fence.raise_to(5)
        other.raise_to(7)


def test_marks_of_chunks(fence: Fence) -> None:
    """Each chunk has its own, the latest counts, and the first is told from others."""
    assert fence.marked(1) == b""
    assert fence.mark(2, b"22222222")
    assert fence.marked(1) == bytes(8)
    assert fence.mark(1, b"11111111")
    assert not fence.mark(2, b"33333333")
    assert (fence.marked(1), fence.marked(2)) == (b"11111111", b"33333333")
    fence.check(0)


@pytest.mark.parametrize("kind", [chunk_lock, LockFile])
def test_nobody_waits_for_a_chunk_for_ever(
    fence: Fence, path: str, monkeypatch: pytest.MonkeyPatch, kind: type[ChunkLock]
) -> None:
    """After the time that a client has patience for, it is told that another request has it. It does not spin."""
    monkeypatch.setattr(fences, "chunk_lock", kind)
    slept: list[float] = []
    set_time(monkeypatch, slept.append, lambda: sum(slept))
    with closing(Fence.open(path)) as other:
        with other.alone_at(7):
            with pytest.raises(UploadLocked), fence.alone_at(7):
                pass
            assert 30 <= sum(slept) < 30.1 and {*slept} == {0.005}
            slept.clear()
            with pytest.raises(UploadLocked), fence.alone_at(7, lambda: None):
                pass
            assert 30 <= sum(slept) < 30.1
        with fence.alone_at(7):
            pass


def test_a_lock_of_its_own_is_beside_the_fence(fence: Fence, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cleaner finds it if its process dies."""
    monkeypatch.setattr(fences, "chunk_lock", LockFile)
    with fence.alone_at(7):
        assert os.path.exists(f"{path}.7")
    assert not os.path.exists(f"{path}.7")


def test_a_chunk_is_got_by_who_waits(fence: Fence, path: str) -> None:
    """As soon as it is free."""
    with closing(Fence.open(path)) as other:
        held = other.alone_at(7)
        held.__enter__()
        asked: list[None] = []

        def check() -> None:
            asked.append(None)
            if len(asked) == 2:
                held.__exit__(None, None, None)

        with fence.alone_at(7, check):
            assert len(asked) == 2
