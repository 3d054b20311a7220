"""The app under gunicorn, on each database: many requests, forked workers, killed workers, killed databases."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextlib import suppress
from pathlib import Path

import pytest

from tests.live.dialects import Client
from tests.live.dialects import clients
from tests.live.dialects import delete
from tests.live.dialects import Dialects
from tests.live.dialects import in_dialects
from tests.live.journal import PATIENCE
from tests.live.raw import Answer
from tests.live.raw import Connection
from tests.live.servers import id_of

from .conftest import Serve
from .live_app import Database
from .live_app import LiveApp
from .servers import DatabaseServer

pytestmark = pytest.mark.live

KIB = 1024
SLOW = 20  # uploads at the same time


def content_of(number: int, size: int = 300 * KIB) -> bytes:
    """Some bytes that no other upload has."""
    return random.Random(number).randbytes(size)


def digest_of(content: bytes) -> str:
    """What on_complete writes down."""
    return hashlib.sha256(content).hexdigest()


def wait_until_complete(server: LiveApp, path: str, client: Client | None = None) -> Answer:
    """Ask, as a client does, until the upload is there; a server that is in trouble says so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answer = (client or server.tus).head(path)
        except ConnectionError:  # the worker has died with the request
            answer = None
        if answer is not None and answer.status in (200, 204) and server.status(path) == "complete":
            return answer
        assert answer is None or answer.status in (200, 204, 423, 500, 503), answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)


def test_twenty_slow_uploads_share_one_connection(database: DatabaseServer, serve: Serve) -> None:
    """With a pool of one connection, twenty uploads on their way and a HEAD beside them all get on."""
    server = serve(database, "--threads", "32", pool=1)
    paths = [server.tus.create(300 * KIB) for _ in range(SLOW)]
    with ExitStack() as stack:
        connections: list[Connection] = []
        for number, path in enumerate(paths):
            connections.append(stack.enter_context(server.tus.connect()))
            head = {"Content-Length": 300 * KIB}
            connections[-1].start_patch(path, 0, head, body=content_of(number)[: 100 * KIB])
        for start in (100, 200):
            assert server.tus.head(server.tus.create(1)).offset == 0
            assert all(connection.is_silent() for connection in connections)
            for number, connection in enumerate(connections):
                connection.send(content_of(number)[start * KIB : (start + 100) * KIB])
            time.sleep(1.2)  # so long that each of them saves how far it is
        for connection in connections:
            assert connection.answer("PATCH").status == 204
    for number, path in enumerate(paths):
        assert server.receipts(path) == [digest_of(content_of(number))]


def test_forked_workers_have_connections_of_their_own(database: DatabaseServer, serve: Serve) -> None:
    """gunicorn --preload forks an app that has used its database already; nothing gets mixed up."""
    server = serve(database, "-w", "3", "--preload")
    deadline = time.monotonic() + PATIENCE
    while len(server.workers()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    def upload(number: int) -> tuple[str, set[int]]:
        content = content_of(number, 64 * KIB)
        path = server.tus.create(len(content))
        answers = [server.tus.patch(path, at, content[at : at + 16 * KIB]) for at in range(0, len(content), 16 * KIB)]
        assert [answer.status for answer in answers] == [204] * 4, answers
        return path, {answer.worker for answer in answers}

    with ThreadPoolExecutor(6) as pool:
        done = [*pool.map(upload, range(48))]
    assert {worker for _, workers in done for worker in workers} == set(server.workers())
    for number, (path, _) in enumerate(done):
        digest = digest_of(content_of(number, 64 * KIB))
        assert (server.receipts(path), server.note(path)) == ([digest], digest)


def test_a_database_that_is_killed_costs_no_upload(own_database: DatabaseServer, serve: Serve) -> None:
    """503 while the database is away; when it is back, the same process goes on from an offset that is true."""
    server = serve(own_database)
    content = content_of(1)
    path = server.tus.create(len(content))
    half = len(content) // 2
    assert server.tus.patch(path, 0, content[: half // 2]).status == 204
    with server.tus.connect() as connection:
        connection.start_patch(path, half // 2, {"Content-Length": len(content) - half // 2})
        connection.send(content[half // 2 : half])
        connection.until_delivered()
        time.sleep(0.3)
        own_database.kill()
        connection.send(content[half:])
        answer = connection.answer("PATCH")
    assert answer.status == 503, answer
    assert server.tus.request("POST", "/files/", {"Upload-Length": 1}).status in (
        500,
        503,
    )  # 500: the app's own look-up
    own_database.start()
    back = server.tus.head(path)
    while back.status in (423, 500, 503):  # a claim of a request that could not release it; the app's own pool
        time.sleep(0.2)
        back = server.tus.head(path)
    assert back.status == 200
    assert half // 2 <= back.offset <= len(content)
    assert server.stored(path, back.offset) == content[: back.offset]
    server.tus.resume(path, content)
    last = wait_until_complete(server, path)
    assert last.worker == answer.worker, "the process was replaced"
    assert server.finished(path).read_bytes() == content
    assert (server.receipts(path), server.note(path)) == ([digest_of(content)], digest_of(content))


@in_dialects
def test_a_worker_killed_within_a_request_costs_nothing_that_was_saved(
    database_or_file: Database, serve: Serve, dialects: Dialects
) -> None:
    """kill -9 in the middle: the next request, in whatever dialect, goes on from there; the hook is called once."""
    server = serve(database_or_file, LEASE=0.5)
    first, second = clients(dialects, server.port)
    content = content_of(3)
    path = first.create(len(content))
    with first.connect() as connection:
        start_half(first, connection, path, content)
        wait_until(lambda: server.offset(path) == len(content) // 2)  # saved while the request goes on
        (worker,) = server.workers()
        server.kill_worker(worker)
    assert second.offset(path) == len(content) // 2
    second.resume(path, content)
    assert server.finished(path).read_bytes() == content
    assert (server.receipts(path), server.note(path)) == ([digest_of(content)], digest_of(content))


@in_dialects
def test_an_upload_is_cancelled_in_the_middle_of_a_request(
    database_or_file: Database, serve: Serve, dialects: Dialects
) -> None:
    """Its record and its bytes are gone, and do not come back with what the old request still sends."""
    server = serve(database_or_file)
    first, second = clients(dialects, server.port)
    content = content_of(4)
    path = first.create(len(content))
    with first.connect() as old:
        start_half(first, old, path, content)
        wait_until(lambda: has_stored(server.part(path), len(content) // 2))
        assert delete(second, path) == 204
        with suppress(ConnectionError):
            old.send(content[len(content) // 2 :])
        answer = old.answer_or_end("PATCH")
        assert answer is None or answer.status in (404, 423, 503), answer
    assert (first.head(path).status, second.head(path).status) == (404, 404)
    assert server.offset(path) is None
    assert [file for file in server.folder.rglob("*") if id_of(path) in file.name] == []


def start_half(client: Client, connection: Connection, path: str, content: bytes) -> None:
    """Send half of a file in a request with all of it."""
    client.start_append(connection, path, 0, len(content))
    connection.send(content[: len(content) // 2])


def has_stored(part: Path, size: int) -> bool:
    """Whether an unfinished file has grown so far."""
    return part.exists() and part.stat().st_size == size


def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for what must happen."""
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@in_dialects
def test_a_worker_killed_within_on_complete_leaves_both_or_neither(
    database: DatabaseServer, serve: Serve, dialects: Dialects
) -> None:
    """kill -9 after the hook has written, before it is committed: the hook is called again, and its work is there.

    Under SQL it is there once. MongoDB has kept what the hook had saved; there it is called at least once.
    """
    server = serve(database, LEASE=0.5)
    first, second = clients(dialects, server.port)
    content = content_of(2)
    path = first.create(len(content))
    server.order("on_complete", "die now")
    with pytest.raises(ConnectionError):
        first.append(path, 0, content)
    wait_until_complete(server, path, second)
    calls = server.journal.notes("on_complete", id_of(path))
    assert len(calls) == 2
    assert len({call.pid for call in calls}) == 2
    expected = 2 if database.uri.startswith("mongodb:") else 1
    assert server.receipts(path) == [digest_of(content)] * expected
    assert server.note(path) == digest_of(content)


def test_workers_killed_around_completion_lose_and_double_nothing(database: DatabaseServer, serve: Serve) -> None:
    """kill -9 at some moment around the last byte, twenty times: every upload has its receipt, under SQL just one."""
    server = serve(database, LEASE=0.5)
    chance = random.Random(30)
    for number in range(20):
        content = content_of(number, 20 * KIB)
        path = server.tus.create(len(content))
        with server.tus.connect() as connection:
            connection.start_patch(path, 0, {"Content-Length": len(content)}, body=content)
            time.sleep(chance.uniform(0, 0.04))
            for worker in server.workers():
                os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                server.tus.resume(path, content)
                break
            except (ConnectionError, AssertionError):  # no worker yet, or the dead one's lease
                assert time.monotonic() < deadline
                time.sleep(0.05)
        wait_until_complete(server, path)
        receipts = server.receipts(path)
        assert set(receipts) == {digest_of(content)}
        if not database.uri.startswith("mongodb:"):
            assert len(receipts) == 1
        assert server.finished(path).read_bytes() == content
