"""Locks of single chunks, of both kinds: one for Linux, one for all other systems. Run on Linux, both are tested."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import closing
from contextlib import contextmanager
from pathlib import Path

import pytest

from flask_resumable.storage.local.fence import Fence
from flask_resumable.storage.local.locks import chunk_lock
from flask_resumable.storage.local.locks import ChunkLock
from flask_resumable.storage.local.locks import has_record_locks
from flask_resumable.storage.local.locks import LockFile
from flask_resumable.storage.local.locks import RecordLock

PATIENCE = 60  # seconds
ROUNDS = 300
needs_record_locks = pytest.mark.skipif(not has_record_locks, reason="This system has no such locks for everybody.")

PRELUDE = """
import os, sys, time
from flask_resumable.storage.local import locks
path, kind, counter = sys.argv[1:]
fence = os.open(path, os.O_RDWR)
lock = getattr(locks, kind)(fence, path, 7)
"""
HOLD = PRELUDE + "print(lock.take(), flush=True)\ntime.sleep(600)\n"
COUNT = (
    PRELUDE
    + f"""
for _ in range({ROUNDS}):
    while not lock.take():
        time.sleep(0.0001)
    with open(counter) as file:
        count = int(file.read())
    with open(counter, "w") as file:
        file.write(str(count + 1))
    lock.release()
"""
)

Make = Callable[[int], ChunkLock]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the fence is."""
    fence = tmp_path / "upload.lock"
    fence.touch()
    return str(fence)


@pytest.fixture(params=[pytest.param(RecordLock, marks=needs_record_locks), LockFile])
def kind(request: pytest.FixtureRequest) -> type[ChunkLock]:
    """Each kind."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def make(kind: type[ChunkLock], path: str) -> Iterator[Make]:
    """Locks of a chunk, each for somebody who has opened the fence."""
    opened: list[int] = []

    def make(number: int) -> ChunkLock:
        opened.append(os.open(path, os.O_RDWR))
        return kind(opened[-1], path, number)

    yield make
    for descriptor in opened:
        os.close(descriptor)


@contextmanager
def running(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process."""
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_chunk_has_one_holder(make: Make, path: str) -> None:
    """Others do not get it, and do not wait; another chunk is free; afterwards nothing is left beside the fence."""
    first, second, other = make(7), make(7), make(8)
    assert first.take() and other.take()
    assert not second.take()
    first.release()
    assert second.take()
    assert not first.take()
    second.release()
    other.release()
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_a_fence_that_is_closed_elsewhere_frees_no_chunk(make: Make, path: str) -> None:
    """POSIX's own locks would all go when any descriptor of their file is closed."""
    first, second = make(7), make(7)
    assert first.take()
    with closing(Fence.open(path)):
        pass
    assert not second.take()
    first.release()


def test_threads_keep_each_other_out(make: Make) -> None:
    """They share a process, and no lock."""
    entered: list[int] = []
    together = threading.Barrier(4)

    def work(lock: ChunkLock) -> None:
        together.wait(PATIENCE)
        for _ in range(ROUNDS):
            while not lock.take():
                pass
            entered.append(1)
            assert len(entered) == 1
            entered.pop()
            lock.release()

    threads = [threading.Thread(target=work, args=[make(7)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not entered and not any(thread.is_alive() for thread in threads)


@pytest.mark.slow
def test_processes_keep_each_other_out(kind: type[ChunkLock], path: str, tmp_path: Path) -> None:
    """Of what four processes count up together, nothing is lost."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    arguments = (path, kind.__name__, str(counter))
    with running(COUNT, *arguments) as a, running(COUNT, *arguments) as b, running(COUNT, *arguments) as c:
        with running(COUNT, *arguments) as d:
            assert [process.wait(PATIENCE) for process in (a, b, c, d)] == [0] * 4
    assert int(counter.read_text()) == 4 * ROUNDS


def test_a_process_that_dies_holds_nothing(kind: type[ChunkLock], make: Make, path: str) -> None:
    """The kernel frees its lock, whatever it leaves behind; one that is stopped keeps it."""
    lock = make(7)
    with running(HOLD, path, kind.__name__, "") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        process.send_signal(signal.SIGSTOP)
        assert not lock.take()
        process.kill()
        process.wait()
        assert lock.take()
    lock.release()
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_a_lock_on_a_file_is_released_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second release is a bug, and must not close somebody else's file."""
    lock = LockFile(-1, path, 7)
    assert lock.take()
    lock.release()
    closed: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", closed.append)
        lock.release()
    assert [descriptor for descriptor in closed if descriptor >= 0] == []


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder removes it between another's opening and locking it: that one has the lock of nothing, and tries
    again.
    """
    claims, newcomer, third = (LockFile(-1, path, 7) for _ in range(3))
    assert claims.take()
    flock = fcntl.flock
    calls: list[None] = []

    def wait_for_the_holder(descriptor: int, operation: int) -> None:
        if not calls:
            claims.release()
        calls.append(None)
        flock(descriptor, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", wait_for_the_holder)
        assert newcomer.take()
    assert len(calls) == 2
    assert not third.take()
    newcomer.release()


def test_locks_leave_no_descriptor_behind(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a chunk was free, was not, was free again meanwhile, or cannot be locked at all."""
    before = len(os.listdir("/dev/fd"))
    holder, newcomer = LockFile(-1, path, 7), LockFile(-1, path, 7)
    assert holder.take() and not newcomer.take()
    flock = fcntl.flock

    def wait_for_the_holder(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        holder.release()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", wait_for_the_holder)
    assert newcomer.take()
    newcomer.release()

    def fail(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", fail)
        with pytest.raises(OSError, match="no locks"):
            newcomer.take()
    assert len(os.listdir("/dev/fd")) == before


def test_a_lock_whose_file_is_gone_is_released(path: str) -> None:
    """``delete_expired`` may have removed it. Another error of the disk does not keep the lock either."""
    before = len(os.listdir("/dev/fd"))
    lock = LockFile(-1, path, 7)
    assert lock.take()
    os.unlink(f"{path}.7")
    lock.release()
    assert len(os.listdir("/dev/fd")) == before


def test_others_may_use_a_lock_as_far_as_the_umask_allows(path: str) -> None:
    """They need to read and write its file; nobody needs to execute it."""
    before = os.umask(0o020)
    try:
        assert LockFile(-1, path, 7).take()
    finally:
        os.umask(before)
    assert os.stat(f"{path}.7").st_mode & 0o777 == 0o646


@pytest.mark.slow
def test_all_processes_of_this_machine_choose_the_same_kind(path: str) -> None:
    """Else they would not keep each other out."""
    script = "from flask_resumable.storage.local.locks import chunk_lock; print(chunk_lock.__name__)"
    with running(script) as process:
        assert process.communicate(timeout=PATIENCE)[0].strip() == chunk_lock.__name__
