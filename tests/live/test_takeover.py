"""The newest request wins, and what older ones have received is kept: nobody waits for a connection that is dead."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextlib import suppress
from threading import Barrier

import pytest

from flask_resumable.service import takeover

from .conftest import Serve
from .journal import PATIENCE
from .raw import Answer
from .raw import Connection
from .servers import id_of
from .servers import Server
from .servers import STREAMING

pytestmark = pytest.mark.live

CONTENT = random.Random(32).randbytes(500_000)
SENT = 200_000  # bytes that the old request has sent when it is overtaken
GARBAGE = b"!" * 100_000  # what it sends afterwards
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@contextmanager
def hanging_patch(server: Server, path: str) -> Iterator[tuple[Connection, int]]:
    """A PATCH that the client has given up, its connection still open; and the process that is at it."""
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[:SENT])
        note = server.journal.wait_for("pre_save", id_of(path))[0]
        yield connection, note.pid


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does nothing for a while; its connections stay open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def wait_until_stored(server: Server, path: str, size: int) -> None:
    """Wait until the server has put so many bytes into the upload's file."""
    deadline = time.monotonic() + PATIENCE
    while not server.part(path).exists() or server.part(path).stat().st_size < size:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def send_garbage(connection: Connection) -> None:
    """Send something to a request that may have ended already."""
    with suppress(ConnectionError):
        connection.send(GARBAGE)


def overtaken_in_vain(server: Server, path: str, old: Connection, offset: int) -> None:
    """The upload goes on at ``offset`` while the old request goes on too, from then on without any effect."""
    assert server.stored(path, offset) == CONTENT[:offset]
    middle = offset + 1000
    assert server.tus.patch(path, offset, CONTENT[offset:middle]).offset == middle
    send_garbage(old)
    assert server.stored(path, middle) == CONTENT[:middle]
    assert server.tus.patch(path, middle, CONTENT[middle:]).offset == len(CONTENT)
    send_garbage(old)
    old.finish()
    answer = old.answer_or_end("PATCH")
    assert answer is None or answer.status == 423, answer
    server.journal.wait_for("end PATCH", id_of(path), count=3)
    assert server.finished(path).read_bytes() == CONTENT
    assert not server.part(path).exists()
    assert server.receipts(path) == [SHA256]


@pytest.mark.parametrize("kind", STREAMING)
def test_head_tells_all_that_a_hanging_patch_has_sent(shared: Serve, kind: str) -> None:
    """HEAD answers while an older PATCH is open, with every byte of it, and the next PATCH is accepted there; what
    the old connection sends from then on is not stored.
    """
    server = shared(kind)
    path = server.tus.create(len(CONTENT))
    with hanging_patch(server, path) as (old, pid):
        answer = server.tus.head(path)
        assert (answer.status, answer.offset) == (200, SENT)
        assert answer.worker == pid
        overtaken_in_vain(server, path, old, answer.offset)


@pytest.mark.parametrize("kind", [*STREAMING, "gthread2"])
def test_looking_does_not_stop_a_patch(shared: Serve, kind: str) -> None:
    """A PATCH that is looked at after each of its pieces goes on, and the offset follows; nothing is sent twice."""
    server = shared(kind)
    path = server.tus.create(len(CONTENT))
    with hanging_patch(server, path) as (old, _):
        for sent in range(SENT, len(CONTENT), 60_000):
            assert server.tus.offset(path) == sent
            old.send(CONTENT[sent : sent + 60_000])
        assert old.answer("PATCH").offset == len(CONTENT)
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [SHA256]


@pytest.mark.parametrize("where", ["same process", "other process"])
def test_any_worker_tells_what_a_hanging_patch_has_sent(shared: Serve, where: str) -> None:
    """With two worker processes it makes no difference which of them answers HEAD: the one with the hanging PATCH, or
    the other, even if the first is frozen meanwhile.
    """
    server = shared("gthread2")
    path = server.tus.create(len(CONTENT))
    with hanging_patch(server, path) as (old, pid):
        wait_until_stored(server, path, SENT)
        (other,) = {*server.workers()} - {pid}
        with frozen(other if where == "same process" else pid):
            answer = server.tus.head(path)
        assert (answer.status, answer.offset) == (200, SENT)
        assert answer.worker == (pid if where == "same process" else other)
        overtaken_in_vain(server, path, old, answer.offset)


def test_a_worker_that_was_stopped_writes_nothing_when_it_goes_on(serve: Serve) -> None:
    """Not a byte of what arrived while another worker took over, although its claim has long run out."""
    server = serve("gthread2", LEASE=1)
    path = server.tus.create(len(CONTENT))
    with hanging_patch(server, path) as (old, pid):
        wait_until_stored(server, path, SENT)
        with frozen(pid):
            send_garbage(old)
            time.sleep(1.5)  # the lease
            middle = SENT + len(GARBAGE) // 2
            answer = server.tus.patch(path, SENT, CONTENT[SENT:middle])
            assert (answer.status, answer.offset) == (204, middle)
        old.finish()
        answered = old.answer_or_end("PATCH")
        assert answered is None or answered.status == 423, answered
        server.journal.wait_for("end PATCH", id_of(path), count=2)
    assert server.tus.offset(path) == middle
    server.tus.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [SHA256]


@pytest.mark.parametrize("kind", [*STREAMING, "gthread2"])
def test_a_new_patch_takes_the_upload_from_a_hanging_one(shared: Serve, kind: str) -> None:
    """A PATCH at the upload's offset is accepted although an older PATCH at the same offset is still open."""
    server = shared(kind)
    path = server.tus.create(len(CONTENT))
    with hanging_patch(server, path) as (old, _):
        answer = server.tus.patch(path, 0, CONTENT)
        while answer.status == 409:  # the old one had saved some of its bytes
            answer = server.tus.patch(path, answer.offset, CONTENT[answer.offset :])
        assert (answer.status, answer.offset) == (204, len(CONTENT))
        send_garbage(old)
    server.journal.wait_for("end PATCH", id_of(path), count=2)
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [SHA256]


@pytest.mark.parametrize("kind", [*STREAMING, "gthread2"])
def test_delete_stops_a_hanging_patch_for_good(shared: Serve, kind: str) -> None:
    """DELETE answers 204 while a PATCH is still open; whatever that one sends afterwards, no file comes back."""
    server = shared(kind)
    path = server.tus.create(len(CONTENT))
    with hanging_patch(server, path) as (old, _):
        assert server.tus.request("DELETE", path).status == 204
        send_garbage(old)
        old.finish()
        answer = old.answer_or_end("PATCH")
        assert answer is None or answer.status in (404, 423), answer
    server.journal.wait_for("end PATCH", id_of(path))
    assert server.tus.head(path).status == 404
    assert [file for file in server.folder.rglob("*") if id_of(path) in file.name] == []
    assert len(server.journal.notes("post_delete", id_of(path))) == 1


def at_once(server: Server, path: str, offset: int, bodies: list[bytes]) -> list[Answer]:
    """Send several PATCHes at one offset, all connected before the first one starts."""
    barrier = Barrier(len(bodies))

    def send(body: bytes) -> Answer:
        with server.tus.connect() as connection:
            barrier.wait()
            half = len(body) // 2
            connection.start_patch(path, offset, {"Content-Length": len(body)}, body=body[:half])
            with suppress(ConnectionError):  # refused early
                connection.send(body[half:])
            return connection.answer("PATCH")

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(send, bodies))


@pytest.mark.parametrize("kind", [*STREAMING, "gthread2"])
def test_of_patches_at_one_offset_exactly_one_is_applied(shared: Serve, kind: str) -> None:
    """Four different bodies sent at one offset at the same time: one counts, the others answer 409 or 423, and what is
    stored is never a mixture.
    """
    server = shared(kind)
    workers: set[int] = set()
    for size in (10, 5_000, 100_000, 400_000) * 4:
        path = server.tus.create(2 * size)
        bodies = [letter * size for letter in (b"a", b"b", b"c", b"d")]
        begun = time.monotonic()
        answers = at_once(server, path, 0, bodies)
        workers.update(answer.worker for answer in answers)
        statuses = [answer.status for answer in answers]
        assert {*statuses} <= {204, 409, 423}
        offset = server.tus.offset(path)
        stored = server.stored(path, offset)
        if 204 in statuses:
            assert statuses.count(204) == 1, statuses
            assert stored == bodies[statuses.index(204)]
        else:  # the disk kept a request waiting for so long that the next one took over what it had written
            assert 423 in statuses and time.monotonic() - begun > takeover.PATIENCE, statuses
        winner = stored[:1] * (2 * size)
        assert 0 < offset <= size and stored == winner[:offset]
        assert server.tus.patch(path, offset, winner[offset:]).status == 204
        assert server.finished(path).read_bytes() == winner
    assert workers == {*server.workers()}  # with two of them, both took part


@pytest.mark.parametrize("cut", ["FIN", "RST", "silence"])
@pytest.mark.parametrize("kind", [*STREAMING, "gthread2"])
def test_a_client_that_asks_at_once_after_each_cut_sends_nothing_twice(shared: Serve, kind: str, cut: str) -> None:
    """Cut after each piece, it asks on a new connection where to go on, without waiting for anything."""
    server = shared(kind)
    path = server.tus.create(len(CONTENT))
    old: list[Connection] = []
    for number, start in enumerate(range(0, len(CONTENT), 100_000)):
        old.append(server.tus.connect())
        old[-1].start_patch(path, start, {"Content-Length": len(CONTENT) - start})
        old[-1].send(CONTENT[start : start + 100_000 - 1000])
        server.journal.wait_for("pre_save", id_of(path), count=number + 1)
        old[-1].send(CONTENT[start + 100_000 - 1000 : start + 100_000])
        if cut == "FIN":
            old[-1].close()
        elif cut == "RST":
            old[-1].until_delivered()
            old[-1].reset()
        if start + 100_000 < len(CONTENT):
            assert server.tus.offset(path) == start + 100_000
    server.journal.wait_for("on_complete", id_of(path))
    server.tus.until_complete(path)
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [SHA256]
    for connection in old:
        connection.close()
