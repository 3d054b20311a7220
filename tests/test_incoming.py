"""Content that somebody else takes while the request's own thread waits: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import io
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.http.body import Body
from gunicorn.http.body import ChunkedReader
from gunicorn.http.body import LengthReader
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.base import Worker

from flask_resumable.interfaces import Incoming
from flask_resumable.wsgi.body import RequestBody

CONTENT = random.Random(9).randbytes(300_000)
SIZE = 1_000_000  # bytes announced
IDLE = timedelta(seconds=5)
PATIENCE = 10.0  # seconds


class Ends:
    """A connection: the client's end, and the server's with an environ for each kind of server."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
            self.server, _ = listener.accept()
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unreader = SocketUnreader(self.server)

    def gunicorn(self, size: int = SIZE) -> dict[str, Any]:
        """A body with Content-Length."""
        return {
            "wsgi.input": Body(LengthReader(self.unreader, size)),
            "gunicorn.socket": self.server,
            "CONTENT_LENGTH": str(size),
            "SERVER_PROTOCOL": "HTTP/1.1",
        }

    def frames(self) -> dict[str, Any]:
        """A chunked body."""
        request = SimpleNamespace(trailers=[], unreader=self.unreader)
        return {
            "wsgi.input": Body(ChunkedReader(request, self.unreader)),
            "gunicorn.socket": self.server,
            "HTTP_TRANSFER_ENCODING": "chunked",
            "SERVER_PROTOCOL": "HTTP/1.1",
        }

    def werkzeug(self, size: int = SIZE) -> dict[str, Any]:
        """The development server."""
        return {
            "wsgi.input": self.server.makefile("rb"),
            "werkzeug.socket": self.server,
            "CONTENT_LENGTH": str(size),
            "SERVER_PROTOCOL": "HTTP/1.1",
        }


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A connection."""
    both = Ends()
    yield both
    both.client.close()
    both.server.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    """This process as a worker of gunicorn, which stops at SIGTERM."""
    process = object.__new__(Worker)
    process.alive = True
    before = signal.signal(signal.SIGTERM, process.handle_exit)
    yield process
    signal.signal(signal.SIGTERM, before)


def framed(content: bytes, size: int) -> bytes:
    """The content in frames of this size, but for the last frame, which ends the body."""
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


DIRECT: list[Callable[[Ends], dict[str, Any]]] = [Ends.gunicorn, Ends.werkzeug]


def all_there_is(incoming: Incoming) -> bytes:
    """What has been sent, taken without waiting for more."""
    taken = b""
    while block := incoming.take():
        assert isinstance(block, bytes | memoryview)
        taken += block
    return taken


@pytest.mark.parametrize("environ", DIRECT)
def test_what_has_arrived_is_taken_while_the_own_thread_waits(ends: Ends, environ: Any) -> None:
    """Another thread drains the socket, again and again, and ends the wait: all that was sent is there, once."""
    with RequestBody(environ(ends), IDLE).incoming(SIZE) as incoming:
        assert incoming.take() is None
        waiting = threading.Thread(target=incoming.wait)
        waiting.start()
        taken = b""
        for start in range(0, len(CONTENT), 100_000):
            ends.client.sendall(CONTENT[start : start + 100_000])
            while len(taken) < min(start + 100_000, len(CONTENT)):
                taken += all_there_is(incoming)
        assert taken == CONTENT
        incoming.interrupt()
        waiting.join(PATIENCE)
        assert not waiting.is_alive()
        assert incoming.take() == b""


@pytest.mark.parametrize("environ", DIRECT)
def test_taking_never_waits(ends: Ends, environ: Any) -> None:
    """Whoever takes is not held up by a client that sends nothing."""
    with RequestBody(environ(ends), timedelta(minutes=5)).incoming(SIZE) as incoming:
        before = time.monotonic()
        assert [incoming.take() for _ in range(100)] == [None] * 100
        assert time.monotonic() - before < PATIENCE


def test_frames_are_read_by_waiting_and_taken_by_anybody(ends: Ends) -> None:
    """What the own thread has read waits for whoever takes it; an interruption ends a wait for more."""
    body = RequestBody(ends.frames(), IDLE)
    with body.incoming(SIZE) as incoming:
        ends.client.sendall(b"%x\r\n%b\r\n" % (1000, CONTENT[:1000]))
        incoming.wait()
        waiting = threading.Thread(target=incoming.wait)
        assert all_there_is(incoming) == CONTENT[:1000]
        waiting.start()
        incoming.interrupt()
        waiting.join(PATIENCE)
        assert not waiting.is_alive()
        assert incoming.take() == b""
    assert not body.is_whole


def up_to_the_end(incoming: Incoming) -> bytes:
    """What the request's own thread gets until the body ends."""
    taken = b""
    while not incoming.has_ended:
        more = all_there_is(incoming)
        taken += more
        if not more and not incoming.is_stopping and not incoming.has_ended:
            incoming.wait()
    return taken


@pytest.mark.parametrize("environ", [Ends.gunicorn, Ends.frames])
def test_a_worker_that_stops_takes_what_is_in_the_kernel(ends: Ends, worker: Worker, environ: Any) -> None:
    """A request that was busy when the signal came in has not read it, and nothing is waited for."""
    body = RequestBody(environ(ends), timedelta(minutes=5))
    content = CONTENT[:20_000]
    with body.incoming(SIZE) as incoming:
        ends.client.sendall(framed(content, 1000) if environ is Ends.frames else content)
        signal.raise_signal(signal.SIGTERM)
        assert not worker.alive
        assert up_to_the_end(incoming) == content
    assert body.is_stopped
    assert not body.is_whole


def test_what_the_own_thread_is_just_reading_is_kept_when_the_worker_stops(ends: Ends, worker: Worker) -> None:
    """It has read a piece of a chunked body, but not yet passed it on, when another thread ends the wait."""
    has_read, may_go_on = threading.Event(), threading.Event()
    receive = ends.unreader.chunk

    def receive_slowly(*size_hint: Any) -> bytes:
        block: bytes = receive(*size_hint)
        has_read.set()
        assert may_go_on.wait(PATIENCE)
        return block

    ends.unreader.chunk = receive_slowly
    body = RequestBody(ends.frames(), timedelta(minutes=5))
    with body.incoming(SIZE) as incoming:
        waiting = threading.Thread(target=incoming.wait)
        waiting.start()
        ends.client.sendall(framed(CONTENT[:20_000], 1000))
        assert has_read.wait(PATIENCE)
        signal.raise_signal(signal.SIGTERM)
        assert incoming.take() is None
        assert incoming.stop()
        may_go_on.set()
        waiting.join(PATIENCE)
        assert up_to_the_end(incoming) == CONTENT[:20_000]
    assert body.is_stopped


@pytest.mark.parametrize("environ", [Ends.gunicorn, Ends.frames])
def test_the_rest_of_an_abandoned_body_is_never_the_next_request(ends: Ends, environ: Any) -> None:
    """The body is left before its end. What comes in later is part of it, whatever it looks like."""
    request = environ(ends)
    with RequestBody(request, IDLE).incoming(SIZE) as incoming:
        ends.client.sendall(b"5\r\n12345\r\n")
        incoming.wait()
        assert incoming.take()
    ends.client.sendall(b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n")
    with suppress(OSError):  # at which gunicorn closes the connection
        while request["wsgi.input"].read(1024):
            pass  # as gunicorn does before it looks for the next request
    with suppress(ConnectionError):
        ends.client.sendall(b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ends.unreader.read() == b""


@pytest.mark.parametrize("environ", DIRECT)
@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_whole_body_leaves_the_next_request_alone(ends: Ends, environ: Any, behind: bytes) -> None:
    """It ends with its last byte, and the connection works on, late interruptions included."""
    ends.client.sendall(CONTENT[:5000] + behind)
    body = RequestBody(environ(ends, 5000), IDLE)
    with body.incoming(SIZE) as incoming:
        taken = b""
        while not body.is_whole:
            taken += all_there_is(incoming)
    incoming.interrupt()
    assert taken == CONTENT[:5000]
    ends.client.sendall(b"more")
    ends.server.settimeout(PATIENCE)
    rest = ends.unreader.buf.getvalue()
    while len(rest) < len(behind) + 4:
        rest += ends.server.recv(100)
    assert rest == behind + b"more"


def test_silence_is_counted_from_the_last_byte_taken(ends: Ends) -> None:
    """Whoever takes it: the client has been heard."""
    body = RequestBody(ends.gunicorn(), timedelta(seconds=0.5))
    with body.incoming(SIZE) as incoming:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            ends.client.sendall(b"x")
            incoming.wait()
            assert incoming.take()
            time.sleep(0.05)
        time.sleep(0.6)
        assert incoming.take() == b""
    assert not body.is_whole


@pytest.mark.parametrize("sent", [99, 100, 101])
def test_the_end_of_a_body_of_unknown_size_is_proven(sent: int) -> None:
    """There is room for 100 bytes: fewer are whole, and so are 100; with one more it is overlong."""
    body = RequestBody({"wsgi.input": io.BytesIO(b"x" * sent), "HTTP_TRANSFER_ENCODING": "chunked"}, IDLE)
    assert sum(map(len, body.blocks(100))) == min(sent, 100)
    assert (body.is_whole, body.is_overlong) == (sent <= 100, sent > 100)
