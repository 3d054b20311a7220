"""Apps that read a body first: it is used whole, or refused at once; and the next request is never taken for it."""

from __future__ import annotations

import random
import time

import pytest

from .conftest import Serve
from .raw import chunked
from .raw import Headers
from .servers import Server

pytestmark = pytest.mark.live

CONTENT = random.Random(43).randbytes(100_000).replace(b"\n", b".")
KINDS = ("gthread", "gevent", "sync", "werkzeug", "granian", "waitress", "cheroot", "uwsgi")
GUNICORN = ("gthread", "gevent", "sync")
USED = ("cached", "cached_with_form", "form", "replaced", "wrapped", "middleware_replaces", "middleware_wraps")
REFUSED = (
    "not_cached",
    "stream",
    "stream_then_cached",
    "raw",
    "line",
    "replaced_and_read",
    "replaced_by_the_rest",
    "read_and_wrapped",
)
THROUGH_FLASK = ("not_cached", "stream", "stream_then_cached", "replaced_and_read")
AROUND = ("middleware_reads", "middleware_reads_all")
IDLE = 20  # seconds, which no answer here takes


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    """A server that would wait long for bytes that do not come."""
    return shared(request.param, environ={"LIVE_READERS": "1"}, IDLE_TIMEOUT=IDLE)


def log(server: Server) -> str:
    """What it has logged so far."""
    return server.log.read_text()


@pytest.mark.parametrize("reader", USED)
@pytest.mark.parametrize("size", [3, 100_000])
def test_what_is_still_complete_is_used(server: Server, reader: str, size: int) -> None:
    """Data that Flask has cached, a stream that was put back: the file is what was sent."""
    path = server.tus.create(size)
    answer = server.tus.patch(path, 0, CONTENT[:size], {"X-Reader": reader})
    assert (answer.status, answer.offset) == (204, size)
    assert server.finished(path).read_bytes() == CONTENT[:size]


@pytest.mark.parametrize("reader", REFUSED)
@pytest.mark.parametrize("size", [3, 100_000])
def test_what_is_not_complete_is_refused_at_once(server: Server, reader: str, size: int) -> None:
    """400 without waiting, a line in the log that says why, nothing stored; without the reader, the upload works."""
    if server.kind == "werkzeug" and reader not in THROUGH_FLASK and (size < 5 or reader == "line"):
        pytest.skip("There, the app's own read waits for what does not come.")
    path = server.tus.create(size)
    before, said = time.monotonic(), log(server).count(path)
    answer = server.tus.patch(path, 0, CONTENT[:size], {"X-Reader": reader})
    assert answer.status == 400, answer
    assert time.monotonic() - before < IDLE / 2
    assert log(server).count(path) > said and "must be the first to read" in log(server)
    assert server.tus.offset(path) == 0
    server.tus.resume(path, CONTENT[:size])
    assert server.finished(path).read_bytes() == CONTENT[:size]


@pytest.mark.parametrize("kind", [*GUNICORN, "waitress", "cheroot", "uwsgi"])
@pytest.mark.parametrize("reader", AROUND)
def test_a_middleware_that_reads_is_seen_where_the_server_tells(shared: Serve, kind: str, reader: str) -> None:
    """Servers whose stream says how far it is: the same, though nobody has seen the reading."""
    server = shared(kind, environ={"LIVE_READERS": "1"}, IDLE_TIMEOUT=IDLE)
    path = server.tus.create(len(CONTENT))
    assert server.tus.patch(path, 0, CONTENT, {"X-Reader": reader}).status == 400
    assert f"PATCH {path}: flask_resumable must be the first to read" in log(server)
    assert server.tus.offset(path) == 0


@pytest.mark.parametrize("kind", GUNICORN)
@pytest.mark.parametrize("reader", [*USED, *REFUSED, *AROUND])
def test_the_next_request_is_never_part_of_a_body(shared: Serve, kind: str, reader: str) -> None:
    """Two requests are sent at once, the second with a cookie: whoever has read from the first, it is not stored, and
    it is answered, or the connection closed.
    """
    server = shared(kind, environ={"LIVE_READERS": "1"}, IDLE_TIMEOUT=IDLE)
    size = 1000
    path = server.tus.create(2 * size)
    head = f"HEAD {path} HTTP/1.1\r\nHost: live.test\r\nTus-Resumable: 1.0.0\r\nCookie: session=secret\r\n"
    following = head.encode() + b"X-Padding: " + b"x" * size + b"\r\n\r\n"
    with server.tus.connect() as connection:
        headers: Headers = {"Content-Length": size, "X-Reader": reader}
        connection.start_patch(path, 0, headers, body=CONTENT[:size] + following)
        answer = connection.answer("PATCH")
        assert answer.status in (204, 400)
        second = connection.answer_or_end("HEAD")
        assert second is None or second.offset == (size if answer.status == 204 else 0)
    offset = server.tus.offset(path)
    assert offset in (0, size)
    stored = server.part(path).read_bytes() if server.part(path).exists() else b""
    assert stored == CONTENT[:offset]


@pytest.mark.parametrize("kind", [*GUNICORN, "granian"])
@pytest.mark.parametrize("reader", ["cached", "wrapped", "stream", "not_cached", "raw", "stream_then_cached"])
def test_bodies_of_unknown_size_are_used_or_refused(shared: Serve, kind: str, reader: str) -> None:
    """The same for chunked bodies, of which no length says that something is missing."""
    server = shared(kind, environ={"LIVE_READERS": "1"}, IDLE_TIMEOUT=IDLE)
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Transfer-Encoding": "chunked", "X-Reader": reader}, body=chunked([CONTENT]))
        status = connection.answer("PATCH").status
    assert status == (204 if reader in USED else 400)
    assert server.tus.offset(path) == (len(CONTENT) if reader in USED else 0)


@pytest.mark.parametrize("reader", ["cached", "stream", "middleware_reads"])
def test_content_of_a_creation_is_used_or_refused(shared: Serve, reader: str) -> None:
    """The same for POST: if its content is not complete, there is no upload."""
    server = shared("gthread", environ={"LIVE_READERS": "1"}, IDLE_TIMEOUT=IDLE)
    created = len(server.journal.notes("on_create"))
    headers: Headers = {"Upload-Length": 1000, "Content-Type": "application/offset+octet-stream", "X-Reader": reader}
    answer = server.tus.request("POST", "/files/", headers, CONTENT[:1000])
    assert answer.status == (201 if reader in USED else 400)
    assert len(server.journal.notes("on_create")) - created == (reader in USED)


@pytest.mark.parametrize("kind", GUNICORN)
def test_what_came_before_a_cut_is_kept_though_the_app_has_read_it(shared: Serve, kind: str) -> None:
    """gunicorn hands out what came before the end of the connection; Flask has cached that, and it is a beginning."""
    server = shared(kind, environ={"LIVE_READERS": "1"}, IDLE_TIMEOUT=IDLE)
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        headers: Headers = {"Content-Length": len(CONTENT), "X-Reader": "cached"}
        connection.start_patch(path, 0, headers, body=CONTENT[:3000])
        connection.finish()
        answer = connection.answer_or_end("PATCH")
    assert answer is None or (answer.status, answer.offset) == (409, 3000)
    assert server.tus.offset(path) == 3000
    server.tus.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT


@pytest.mark.parametrize("reader", ["wrapped", "middleware_wraps"])
def test_a_silent_client_is_not_waited_for_behind_a_wrapper(shared: Serve, reader: str) -> None:
    """What gunicorn's stream is wrapped in knows of no time-out: the connection does, and what came is kept."""
    server = shared("gthread", environ={"LIVE_READERS": "1"}, IDLE_TIMEOUT=2)
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        headers: Headers = {"Content-Length": len(CONTENT), "X-Reader": reader}
        connection.start_patch(path, 0, headers, body=CONTENT[:50_000])
        answer = connection.answer("PATCH")
    assert answer.status == 409 and 49_000 <= answer.offset <= 50_000
    server.tus.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT
