"""The IETF draft on real servers: takeovers, cuts and kills, and tus clients in between."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextlib import suppress
from threading import Barrier

import pytest

from flask_resumable.service import takeover

from .conftest import Serve
from .dialects import clients
from .dialects import Dialects
from .dialects import DRAFT
from .dialects import MIXED
from .ietf import Ietf
from .raw import Answer
from .raw import chunked
from .raw import Connection
from .servers import id_of
from .servers import Server
from .servers import STREAMING

pytestmark = pytest.mark.live

CONTENT = random.Random(9457).randbytes(500_000)
SENT = 200_000  # bytes that the old request has sent when it is overtaken
GARBAGE = b"!" * 100_000  # what it sends afterwards
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@contextmanager
def hanging(server: Server, client: Ietf, path: str) -> Iterator[Connection]:
    """An append that the client has given up, its connection still open."""
    with client.connect() as connection:
        client.start_append(connection, path, 0, len(CONTENT))
        connection.send(CONTENT[:SENT])
        server.journal.wait_for("pre_save", id_of(path))
        yield connection


def start_chunked(client: Ietf, connection: Connection, path: str) -> None:
    """Send the head of a request with the rest of a file whose length is not known."""
    fields = {"Upload-Offset": "0", "Content-Type": "application/partial-upload", "Transfer-Encoding": "chunked"}
    connection.start("PATCH", path, {**fields, **client.says(True)})


def send_garbage(connection: Connection) -> None:
    """Send something to a request that may have ended already."""
    with suppress(ConnectionError):
        connection.send(GARBAGE)


def is_whole(server: Server, path: str) -> None:
    """The file is there, and the hook was called for it once."""
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [SHA256]


@pytest.mark.parametrize("version", [6, 10])
@pytest.mark.parametrize("kind", [*STREAMING, "gthread2"])
def test_the_newest_request_takes_over_all_that_has_arrived(shared: Serve, kind: str, version: int) -> None:
    """HEAD tells every byte of the hanging request, and the next one goes on there at once; the old one has no effect
    any more.
    """
    server = shared(kind)
    client = Ietf(server.port, version)
    path = client.create(len(CONTENT))
    with hanging(server, client, path) as old:
        assert client.offset(path) == SENT
        answer = client.append(path, SENT, CONTENT[SENT:])
        assert answer.status == 200 and client.is_complete(answer)
        send_garbage(old)
        old.finish()
        end = old.answer_or_end("PATCH")
        assert end is None or end.status == 503, end
    is_whole(server, path)


@pytest.mark.parametrize("kind", [*STREAMING, "gthread2"])
def test_cancelling_ends_a_hanging_request(shared: Serve, kind: str) -> None:
    """For good: whatever it sends afterwards, no file comes back."""
    server = shared(kind)
    client = Ietf(server.port, 6)
    path = client.create(len(CONTENT))
    with hanging(server, client, path) as old:
        with client.connect() as connection:
            assert connection.request("DELETE", path).status == 204
        send_garbage(old)
        old.finish()
        end = old.answer_or_end("PATCH")
        assert end is None or end.status in (404, 503), end
    server.journal.wait_for("end PATCH", id_of(path))
    assert client.head(path).status == 404
    assert [file for file in server.folder.rglob("*") if id_of(path) in file.name] == []


@pytest.mark.parametrize("dialects", [DRAFT, MIXED])
@pytest.mark.parametrize("kind", ["gthread", "gthread2"])
def test_of_requests_at_one_offset_exactly_one_is_applied(shared: Serve, kind: str, dialects: Dialects) -> None:
    """Others are told the right offset, or to come back; what is stored is never a mixture."""
    server = shared(kind)
    both = clients(dialects, server.port)
    for size in (5_000, 100_000) * 3:
        path = both[0].create(size)
        bodies = [letter * size for letter in (b"a", b"b", b"c", b"d")]
        barrier = Barrier(len(bodies))
        begun = time.monotonic()

        def send(number: int, body: bytes, path: str = path, barrier: Barrier = barrier) -> Answer | None:
            client = both[number % 2]
            with client.connect() as connection:
                barrier.wait()
                client.start_append(connection, path, 0, len(body))
                with suppress(ConnectionError):  # refused early
                    connection.send(body)
                return connection.answer_or_end("PATCH")

        with ThreadPoolExecutor(len(bodies)) as pool:
            answers = list(pool.map(send, range(len(bodies)), bodies))
        statuses = [0 if answer is None else answer.status for answer in answers]
        applied = [body for body, status in zip(bodies, statuses, strict=True) if status in (200, 204)]
        assert {*statuses} <= {0, 200, 204, 409, 423, 503}
        offset = server.tus.offset(path)
        stored = server.stored(path, offset)
        if applied:
            assert [stored] == applied, statuses
        else:  # the disk kept a request waiting for so long that the next one took over what it had written
            assert {423, 503} & {*statuses} and time.monotonic() - begun > takeover.PATIENCE, statuses
            assert 0 < offset <= size and stored == stored[:1] * offset


@pytest.mark.parametrize("cut", ["FIN", "RST", "silence"])
@pytest.mark.parametrize("kind", [*STREAMING, "gthread2"])
def test_a_client_that_is_cut_off_again_and_again_sends_nothing_twice(shared: Serve, kind: str, cut: str) -> None:
    """It speaks tus every other time, and asks at once where to go on."""
    server = shared(kind)
    client = Ietf(server.port, 6)
    path = client.create(len(CONTENT))
    old: list[Connection] = []
    for number, start in enumerate(range(0, len(CONTENT), 100_000)):
        rest = len(CONTENT) - start
        if number % 2:
            old.append(server.tus.connect())
            old[-1].start_patch(path, start, {"Content-Length": rest})
        else:
            old.append(client.connect())
            client.start_append(old[-1], path, start, rest)
        old[-1].send(CONTENT[start : start + 99_000])
        server.journal.wait_for("pre_save", id_of(path), count=number + 1)
        old[-1].send(CONTENT[start + 99_000 : start + 100_000])
        if cut == "FIN":
            old[-1].close()
        elif cut == "RST":
            old[-1].until_delivered()
            old[-1].reset()
        if rest > 100_000:
            assert (server.tus if number % 2 else client).offset(path) == start + 100_000
    server.journal.wait_for("on_complete", id_of(path))
    server.tus.until_complete(path)
    is_whole(server, path)
    for connection in old:
        connection.close()


@pytest.mark.parametrize("kind", ["werkzeug", "gthread", "gevent"])
def test_a_chunked_body_that_is_cut_off_is_not_the_end(shared: Serve, kind: str) -> None:
    """Its client had said that all would come, and only the last chunk proves it."""
    server = shared(kind)
    client = Ietf(server.port, 10)
    for ends in (False, True):
        path = client.create(len(CONTENT)) if ends else _open(client)
        with client.connect() as connection:
            start_chunked(client, connection, path)
            connection.send(chunked([CONTENT[:SENT], CONTENT[SENT:]] if ends else [CONTENT[:SENT]], ends=ends))
            if ends:
                assert client.is_complete(connection.answer("PATCH"))
                is_whole(server, path)
                continue
            connection.finish()
            answer = connection.answer_or_end("PATCH")
            assert answer is None or answer.status == 503
        server.journal.wait_for("end PATCH", id_of(path))
        assert not client.is_complete(client.head(path))
        client.resume(path, CONTENT)
        is_whole(server, path)


def _open(client: Ietf) -> str:
    """The path of an upload whose length is not known."""
    with client.connect() as connection:
        answer = connection.request("POST", "/files/", client.says(False))
    return "/files/" + answer.headers["location"]


def test_granians_cut_bodies_do_not_complete_uploads(shared: Serve) -> None:
    """There, a cut body looks like a whole one: only a length, or a request that says so, completes an upload."""
    server = shared("granian")
    client = Ietf(server.port, 10)
    path = _open(client)
    with client.connect() as connection:
        start_chunked(client, connection, path)
        connection.send(chunked([CONTENT[:SENT]], ends=False))
        connection.finish()
        connection.answer_or_end("PATCH")
    server.journal.wait_for("end PATCH", id_of(path))
    answer = client.head(path)
    assert (answer.offset, client.is_complete(answer)) == (SENT, False)
    client.resume(path, CONTENT)
    is_whole(server, path)


@pytest.mark.parametrize("kind", ["gthread", "werkzeug"])
def test_an_upload_survives_its_server(serve: Serve, kind: str) -> None:
    """Killed in the middle of a request, and again in the hook; the hook takes effect once."""
    server = serve(kind)
    client = Ietf(server.port, 10)
    path = client.create(len(CONTENT))
    with hanging(server, client, path):
        offset = client.offset(path)
        assert offset == SENT
        server.stop()
    server.start()
    assert client.offset(path) >= offset
    server.order("on_complete", "die")
    with suppress(ConnectionError):
        client.resume(path, CONTENT)
    server.countermand("on_complete")
    server.stop()
    server.start()
    answer = client.append(path, len(CONTENT), b"")
    assert answer.status == 200 and client.is_complete(answer)
    is_whole(server, path)
