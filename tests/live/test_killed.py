"""Processes that end in mid-upload: killed outright, told to stop, or by their own hook."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from .conftest import Serve
from .journal import PATIENCE
from .raw import Connection
from .servers import id_of
from .servers import Server
from .servers import STREAMING
from .test_takeover import frozen
from .test_takeover import wait_until_stored

pytestmark = pytest.mark.live

CONTENT = random.Random(9).randbytes(400_000)
SENT = 150_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def start_patch(server: Server, path: str) -> Connection:
    """A PATCH on its way."""
    connection = server.tus.connect()
    connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[:SENT])
    server.journal.wait_for("pre_save", id_of(path))
    return connection


def wait_for_end(pids: list[int]) -> None:
    """Wait until processes are gone."""
    deadline = time.monotonic() + PATIENCE
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is not just waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def finishes(server: Server, path: str) -> None:
    """The upload goes on from where it is, and is complete once."""
    server.tus.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [SHA256]


@pytest.mark.parametrize("kind", [*STREAMING, "gthread2", "sync"])
def test_a_killed_server_resumes_where_it_was(serve: Serve, kind: str) -> None:
    """kill -9 of all processes in mid-PATCH: whatever they had put into the file counts after the restart."""
    server = serve(kind)
    path = server.tus.create(len(CONTENT))
    with start_patch(server, path):
        wait_until_stored(server, path, SENT)
        server.stop()
    server.start()
    assert server.tus.offset(path) == SENT
    assert server.stored(path, SENT) == CONTENT[:SENT]
    finishes(server, path)


@pytest.mark.parametrize("kind", STREAMING)
def test_a_server_killed_before_it_saved_is_honest(serve: Serve, kind: str) -> None:
    """kill -9 while bytes stream in: up to the offset afterwards the bytes are there, and the rest can be sent."""
    server = serve(kind)
    content = random.Random(1).randbytes(8_000_000)
    path = server.tus.create(len(content))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(content)})
        for start in range(0, 7_000_000, 10_000):
            connection.send(content[start : start + 10_000])
        server.stop()
    server.start()
    offset = server.tus.offset(path)
    assert offset <= 7_000_000
    assert server.stored(path, offset) == content[:offset]
    server.tus.resume(path, content)
    assert server.finished(path).read_bytes() == content
    assert len(server.receipts(path)) == 1


@pytest.mark.parametrize("kind", ["gthread", "gthread2", "gevent", "sync"])
def test_a_killed_worker_is_no_loss(serve: Serve, kind: str) -> None:
    """kill -9 of the one worker process that receives: its successor, or its sibling, goes on at once."""
    server = serve(kind)
    path = server.tus.create(len(CONTENT))
    with start_patch(server, path):
        wait_until_stored(server, path, SENT)
        worker = server.journal.notes("pre_save", id_of(path))[0].pid
        server.kill_worker(worker)
    assert server.tus.offset(path) == SENT
    finishes(server, path)


@pytest.mark.parametrize("kind", ["gthread2", "gevent", "sync"])
def test_a_killed_master_is_no_loss(serve: Serve, kind: str) -> None:
    """kill -9 of gunicorn's master alone: its workers end by themselves, and what they had received is kept."""
    server = serve(kind)
    path = server.tus.create(len(CONTENT))
    with start_patch(server, path):
        wait_until_stored(server, path, SENT)
        workers = server.kill_master()
    wait_for_end(workers)
    server.start()
    assert server.tus.offset(path) == SENT
    finishes(server, path)


@pytest.mark.parametrize("kind", STREAMING)
def test_a_server_killed_in_on_complete_calls_it_again(serve: Serve, kind: str) -> None:
    """kill -9 while on_complete runs: what it wrote is gone, and the next HEAD calls it again, however long the dead
    process's lease would be; its rows exist exactly once.
    """
    server = serve(kind, LEASE=600)
    server.order("on_complete", f"sleep {4 * PATIENCE}")
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT)
        server.journal.wait_for("on_complete", id_of(path))
        server.stop()
    server.countermand("on_complete")
    server.start()
    assert server.tus.offset(path) == len(CONTENT)
    finishes(server, path)
    assert len(server.journal.notes("on_complete", id_of(path))) == 2


@pytest.mark.parametrize("hook", ["on_create", "pre_save", "post_save", "on_complete", "pre_delete", "post_delete"])
def test_a_worker_that_dies_in_a_hook_leaves_the_upload_usable(serve: Serve, hook: str) -> None:
    """A process that dies in any of the hooks leaves an upload that can be finished, or removed, afterwards."""
    server = serve("gthread", LEASE=600)
    server.order(hook, "die")
    with server.tus.connect() as connection:
        connection.start("POST", "/files/", {"Upload-Length": len(CONTENT)})
        created = connection.answer_or_end("POST")
    upload = server.journal.wait_for("on_create", None)[0].subject
    path = f"/files/{upload}"
    if created is not None:
        assert created.status == 201
        with server.tus.connect() as connection:
            connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT)
            connection.answer_or_end("PATCH")
    if hook.endswith("_delete"):
        with server.tus.connect() as connection:
            connection.start("DELETE", path)
            assert connection.answer_or_end("DELETE") is None
    server.countermand(hook)
    assert server.tus.head(path).status != 423  # nobody waits for the dead
    if hook == "post_delete":
        assert server.flask("tus", "delete_expired").returncode == 0
        assert server.tus.head(path).status == 404
        assert [file for file in server.folder.rglob("*") if upload in file.name] == []
    else:
        finishes(server, path)


def test_a_hook_is_not_called_beside_a_process_that_sleeps_in_it(serve: Serve) -> None:
    """A process that is stopped for longer than its lease, within on_complete, may go on at any time: others wait."""
    server = serve("gthread2", LEASE=1)
    server.order("on_complete", "sleep 1")
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT)
        pid = server.journal.wait_for("on_complete", id_of(path))[0].pid
        with frozen(pid):
            time.sleep(2)
            assert server.tus.head(path).status == 423
        assert connection.answer("PATCH").status == 204
    assert server.tus.offset(path) == len(CONTENT)
    assert len(server.journal.notes("on_complete", id_of(path))) == 1
    assert server.receipts(path) == [SHA256]


@pytest.mark.parametrize("kind", ["gthread", "gthread2", "gevent", "sync"])
def test_sigterm_lets_a_patch_end_in_time(serve: Serve, kind: str) -> None:
    """A PATCH that is under way when gunicorn is told to stop, and ends within the graceful timeout, gets its 204."""
    server = serve(kind)
    path = server.tus.create(len(CONTENT))
    with start_patch(server, path) as connection:
        server.terminate()
        connection.send(CONTENT[SENT:])
        answer = connection.answer("PATCH")
        assert (answer.status, answer.offset) == (204, len(CONTENT))
    assert server.wait() == 0
    assert server.receipts(path) == [SHA256]
    server.start()
    finishes(server, path)


@pytest.mark.parametrize("kind", ["gthread", "gevent", "sync"])
def test_sigterm_keeps_what_a_patch_has_sent(serve: Serve, kind: str) -> None:
    """A PATCH that is still silent when the graceful timeout is over keeps all of its bytes over the restart."""
    server = serve(kind)
    path = server.tus.create(len(CONTENT))
    with start_patch(server, path):
        server.terminate()
        server.wait()
    server.start()
    assert server.tus.offset(path) == SENT
    finishes(server, path)


def test_a_reload_lets_a_patch_end(serve: Serve) -> None:
    """gunicorn replacing its workers (SIGHUP) in mid-PATCH lets it end, and nothing is lost."""
    server = serve("gthread")
    path = server.tus.create(len(CONTENT))
    with start_patch(server, path) as connection:
        os.kill(server.pid, signal.SIGHUP)
        connection.send(CONTENT[SENT:])
        answer = connection.answer("PATCH")
    assert (answer.status, answer.offset) == (204, len(CONTENT))
    finishes(server, path)
