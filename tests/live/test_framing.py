"""How a body is framed: on every server, each request gets its bytes, all of them and no others."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from .conftest import Serve
from .raw import chunked
from .raw import Headers
from .servers import ALL
from .servers import id_of
from .servers import Server

pytestmark = pytest.mark.live

CLOSING = ("werkzeug", "sync")  # servers that close every connection after its first answer
CONTENT = random.Random(62).randbytes(300_000)


@pytest.fixture(params=ALL)
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    """Every server in turn."""
    return shared(request.param)


def is_complete(server: Server, path: str) -> bool:
    """Whether the upload has become the file that the client has."""
    return server.finished(path).read_bytes() == CONTENT and len(server.receipts(path)) == 1


def framed(framing: str, content: bytes) -> tuple[Headers, bytes]:
    """A body as it goes over the wire, and the header that says how it ends."""
    if framing == "length":
        return {"Content-Length": len(content)}, content
    return {"Transfer-Encoding": "chunked"}, chunked([content[:500], content[500:]])


def test_a_body_with_content_length_is_stored(server: Server) -> None:
    """The usual PATCH: 204, the new offset, no body in the answer."""
    path = server.tus.create(len(CONTENT))
    answer = server.tus.patch(path, 0, CONTENT)
    assert (answer.status, answer.offset, answer.body) == (204, len(CONTENT), b"")
    assert is_complete(server, path)


@pytest.mark.parametrize("size", [1, 1000, 65_536, len(CONTENT)])
def test_a_chunked_body_is_stored(server: Server, size: int) -> None:
    """Transfer-Encoding: chunked needs no Content-Length, whatever the size of the chunks."""
    content = CONTENT[: size * 1000]
    path = server.tus.create(len(content))
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Transfer-Encoding": "chunked"}, body=chunked(pieces))
        answer = connection.answer("PATCH")
    assert (answer.status, answer.offset) == (204, len(content))
    assert server.finished(path).read_bytes() == content


@pytest.mark.parametrize("kind", ["wsgiref", "gthread"])
def test_a_chunked_body_that_the_server_cannot_deliver_is_refused(shared: Serve, kind: str) -> None:
    """Where the WSGI server cannot tell where a chunked body ends, the answer is 411, not 204 without progress."""
    server = shared(kind, environ={"LIVE_RAW_INPUT": "1"})
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Transfer-Encoding": "chunked"}, body=chunked([b"abc"], ends=False))
        assert connection.answer("PATCH").status == 411
    assert server.tus.offset(path) == 0
    assert server.tus.patch(path, 0, CONTENT).status == 204
    assert is_complete(server, path)


def test_a_chunked_body_that_is_too_long_is_stored_up_to_the_length(server: Server) -> None:
    """Chunks beyond the upload's end are refused with 413 and never stored."""
    path = server.tus.create(1000)
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Transfer-Encoding": "chunked"})
        with suppress(ConnectionError):
            connection.send(chunked([CONTENT[:700], CONTENT[700:1400], CONTENT[1400:]]))
        answer = connection.answer_or_end("PATCH")
    assert answer is None or answer.status == 413
    server.journal.wait_for("end PATCH", id_of(path))
    assert server.tus.offset(path) <= 1000
    server.tus.resume(path, CONTENT[:1000])
    assert server.finished(path).read_bytes() == CONTENT[:1000]
    assert len(server.receipts(path)) == 1


def test_a_client_that_asks_first_is_told_to_continue(server: Server) -> None:
    """Expect: 100-continue is answered with 100, and only then the body comes."""
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT), "Expect": "100-continue"})
        assert connection.interim() == 100
        connection.send(CONTENT)
        answer = connection.answer("PATCH")
    assert (answer.status, answer.offset) == (204, len(CONTENT))
    assert is_complete(server, path)


@pytest.mark.parametrize(
    ("offset", "headers", "status"),
    [(5, {}, 409), (0, {"Content-Type": "text/plain"}, 415), (0, {"Tus-Resumable": "0.2.2"}, 412)],
)
def test_a_client_that_asks_first_is_refused_without_its_body(
    server: Server, offset: int, headers: Headers, status: int
) -> None:
    """Refusals that the headers call for are answered before a byte of the body is sent."""
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, offset, {"Content-Length": len(CONTENT), "Expect": "100-continue", **headers})
        assert connection.answer("PATCH").status == status  # some servers say 100 before the app is asked
    assert server.tus.offset(path) == 0
    assert not server.part(path).exists()


def test_of_two_framings_none_smuggles_a_request(server: Server) -> None:
    """With Content-Length and Transfer-Encoding at once, what one of them takes for the next request is never run.

    Servers refuse it, or end the connection after the first answer, as RFC 9112 demands.
    """
    victim, path = server.tus.create(len(CONTENT)), server.tus.create(len(CONTENT))
    smuggled = f"DELETE {victim} HTTP/1.1\r\nHost: live.test\r\nTus-Resumable: 1.0.0\r\n\r\n".encode()
    body = chunked([b"abc"]) + smuggled
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(body), "Transfer-Encoding": "chunked"}, body=body)
        connection.answer_or_end("PATCH")
        connection.answer_or_end("DELETE")
    assert server.tus.offset(victim) == 0
    assert server.tus.offset(path) in (0, 3)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [1_000, 100_000])  # with and without the server having it all at once
def test_a_pipelined_request_is_not_content(server: Server, framing: str, size: int) -> None:
    """What follows a body on its connection is the next request, and none of the upload's bytes."""
    path = server.tus.create(len(CONTENT))
    following = f"HEAD {path} HTTP/1.1\r\nHost: live.test\r\nTus-Resumable: 1.0.0\r\n\r\n".encode()
    headers, body = framed(framing, CONTENT[:size])
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, headers, body=body + following)
        first = connection.answer("PATCH")
        assert (first.status, first.offset) == (204, size)
        second = connection.answer_or_end("HEAD")
        assert second is not None or server.kind != "gevent"  # older versions of gthread close here, others always
        assert second is None or (second.status, second.offset) == (200, size)
    assert server.tus.offset(path) == size
    server.tus.resume(path, CONTENT)
    assert is_complete(server, path)


def test_many_requests_share_a_connection(server: Server) -> None:
    """A client that keeps its connection uploads piece by piece on it, on servers that keep connections."""
    path = server.tus.create(len(CONTENT))
    connection = server.tus.connect()
    reconnects = 0
    for start in range(0, len(CONTENT), 50_000):
        if connection.is_closing:
            connection.close()
            connection = server.tus.connect()
            reconnects += 1
        connection.start_patch(path, start, {"Content-Length": 50_000}, body=CONTENT[start : start + 50_000])
        answer = connection.answer("PATCH")
        assert (answer.status, answer.offset) == (204, start + 50_000)
    connection.close()
    assert is_complete(server, path)
    assert reconnects == 0 or server.kind in CLOSING


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [200, 200_000])
def test_an_unread_body_is_never_taken_for_a_request(server: Server, framing: str, size: int) -> None:
    """After a refusal the body lies unread on the connection. Even if it looks like a request, it is not obeyed; the
    connection is closed, or the next request on it is answered rightly.
    """
    path = server.tus.create(len(CONTENT))
    attack = f"DELETE {path} HTTP/1.1\r\nHost: live.test\r\nTus-Resumable: 1.0.0\r\n\r\n".encode()
    headers, body = framed(framing, attack * (size // len(attack) + 1))
    with server.tus.connect() as connection:
        with suppress(ConnectionError):
            connection.start_patch(path, 7, headers, body=body)
        refusal = connection.answer_or_end("PATCH")
        assert refusal is None or (refusal.status, refusal.offset) == (409, 0)
        with suppress(ConnectionError):
            connection.start("HEAD", path)
        following = connection.answer_or_end("HEAD")
        assert following is None or (following.status, following.offset) == (200, 0)
    assert server.tus.head(path).status == 200
    assert server.journal.notes("pre_delete", id_of(path)) == []
    assert server.tus.patch(path, 0, CONTENT).status == 204
    assert is_complete(server, path)


def test_more_bytes_than_declared_are_not_stored(server: Server) -> None:
    """Content-Length counts: what is sent beyond it is no part of the body, and stays out of the upload."""
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": 1000}, body=CONTENT[:1000] + b"\x00" * 5000)
        answer = connection.answer("PATCH")
    assert (answer.status, answer.offset) == (204, 1000)
    assert server.tus.offset(path) == 1000
    assert server.part(path).stat().st_size == 1000
    server.tus.resume(path, CONTENT)
    assert is_complete(server, path)


def test_a_body_announced_too_long_is_refused_before_it_is_read(server: Server) -> None:
    """A Content-Length beyond the upload's end is answered 413 although no byte of the body was sent."""
    path = server.tus.create(1000)
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": 1001})
        assert connection.answer("PATCH").status == 413
    assert server.tus.offset(path) == 0
    assert not server.part(path).exists()


def test_a_client_that_left_before_the_answer_has_finished_its_upload(server: Server) -> None:
    """The last byte counts, also if nobody waits for the 204; the repeated PATCH finds the upload complete."""
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT)
        connection.until_delivered()
        connection.reset()
    server.journal.wait_for("end PATCH", id_of(path))
    server.tus.resume(path, CONTENT)
    assert server.tus.patch(path, len(CONTENT), b"").status == 204
    assert is_complete(server, path)
    assert len(server.journal.notes("on_complete", id_of(path))) == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_in_dribs_is_whole(server: Server, framing: str) -> None:
    """Two MiB in pieces of 1 to 5,000 bytes, each a packet of its own, arrive in order."""
    dribs = random.Random(framing)
    content = dribs.randbytes(2 * 1024 * 1024)
    path = server.tus.create(len(content))
    is_chunked = framing == "chunked"
    headers: Headers = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": len(content)}
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, headers)
        start = 0
        while start < len(content):
            size = dribs.choice((1, 2, 17, 255, 1460, 5000))
            piece = content[start : start + size]
            connection.send(chunked([piece], ends=False) if is_chunked else piece)
            start += size
        if is_chunked:
            connection.send(chunked([]))
        answer = connection.answer("PATCH")
    assert (answer.status, answer.offset) == (204, len(content))
    assert server.finished(path).read_bytes() == content
    assert len(server.receipts(path)) == 1
