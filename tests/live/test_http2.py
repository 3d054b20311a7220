"""HTTP/2: a body needs no Content-Length, and a connection has many requests, of which one may end alone."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.prerequisites import require_program

from .conftest import Serve
from .http2 import Http2
from .raw import OCTETS
from .servers import id_of
from .servers import Server
from .tls import Certificate

pytestmark = pytest.mark.live

CONTENT = random.Random(44).randbytes(1_000_000)
SPEAKS_BOTH = ("--http-protocols", "h2,h1")


@pytest.fixture(params=["gthread", "gevent", "granian"])
def server(request: pytest.FixtureRequest, shared: Serve, certificate: Certificate) -> Server:
    """A server that speaks HTTP/2 over TLS, and HTTP/1.1 too."""
    options = () if request.param == "granian" else SPEAKS_BOTH
    return shared(request.param, certificate=certificate, options=options, IDLE_TIMEOUT=5)


@pytest.fixture(params=["gthread", "gevent", "granian"])
def own_server(request: pytest.FixtureRequest, serve: Serve, certificate: Certificate) -> Server:
    """The same for one test alone: granian goes on reading a stream that was reset, as fast as it can, for ever."""
    options = () if request.param == "granian" else SPEAKS_BOTH
    return serve(request.param, certificate=certificate, options=options, IDLE_TIMEOUT=5)


def connect(server: Server) -> Http2:
    """A new connection."""
    return Http2(server.port, server.certificate)


def is_stored(server: Server, path: str, content: bytes = CONTENT) -> bool:
    """Whether the upload has become a file of exactly this content."""
    return server.finished(path).read_bytes() == content


@pytest.mark.parametrize("size", [1, 70_000, 1_000_000])
@pytest.mark.parametrize("says_length", [True, False])
def test_bodies_are_stored_whole(server: Server, size: int, says_length: bool) -> None:
    """With Content-Length and without, and one after another on one connection."""
    with connect(server) as client:
        for _ in range(2):
            path = server.tus.create(size)
            stream = client.start_patch(path, 0, {"Content-Length": size} if says_length else None)
            client.send(stream, CONTENT[:size])
            answer = client.answer(stream)
            assert (answer.status, answer.offset) == (204, size)
            assert is_stored(server, path, CONTENT[:size])


@pytest.mark.parametrize("says_length", [True, False])
def test_content_of_a_creation_is_stored(server: Server, says_length: bool) -> None:
    """A POST with content, the same way."""
    headers: dict[str, str | int] = {"Upload-Length": len(CONTENT), "Content-Type": OCTETS}
    if says_length:
        headers["Content-Length"] = len(CONTENT)
    with connect(server) as client:
        stream = client.start("POST", "/files/", headers)
        client.send(stream, CONTENT)
        answer = client.answer(stream)
    assert (answer.status, answer.offset) == (201, len(CONTENT))
    assert is_stored(server, "/files/" + answer.headers["location"])


def test_requests_without_a_body_need_not_say_so(server: Server) -> None:
    """POST and HEAD that end with their head; an empty PATCH moves nothing, and says that."""
    with connect(server) as client:
        created = client.answer(client.start("POST", "/files/", {"Upload-Length": 1000}, ends=True))
        assert created.status == 201
        path = "/files/" + created.headers["location"]
        assert client.answer(client.start("HEAD", path, {}, ends=True)).offset == 0
        stream = client.start_patch(path, 0)
        client.send(stream, b"")
        assert (answer := client.answer(stream)).status == 204 and answer.offset == 0


def test_an_overlong_body_is_refused(server: Server) -> None:
    """It passes the end of the upload, though nothing has announced that."""
    path = server.tus.create(1000)
    with connect(server) as client:
        stream = client.start_patch(path, 0)
        client.send(stream, CONTENT[:1001])
        assert client.answer(stream).status == 413


@pytest.mark.parametrize("says_length", [True, False])
def test_a_request_that_is_reset_ends_alone(own_server: Server, says_length: bool) -> None:
    """RST_STREAM within a body: what the server had passed on is kept, and the connection's other uploads go on, those
    that were under way and those that come.
    """
    server = own_server
    cut, other, later = (server.tus.create(len(CONTENT)) for _ in range(3))
    length = {"Content-Length": len(CONTENT)} if says_length else {}
    with connect(server) as client:
        first = client.start_patch(cut, 0, length)
        client.send(first, CONTENT[:50_000], ends=False)
        second = client.start_patch(other, 0, length)
        client.send(second, CONTENT[:50_000], ends=False)
        client.reset(first)
        client.send(second, CONTENT[50_000:])
        assert client.answer(second).offset == len(CONTENT)
        third = client.start_patch(later, 0, length)
        client.send(third, CONTENT)
        assert client.answer(third).offset == len(CONTENT)
        if server.kind != "granian":  # which does not tell an app that a stream was reset
            server.journal.wait_for("end PATCH", id_of(cut))
    assert is_stored(server, other) and is_stored(server, later)
    offset = server.tus.offset(cut)
    assert offset <= 50_000
    assert server.stored(cut, offset) == CONTENT[:offset]
    server.tus.resume(cut, CONTENT)
    assert is_stored(server, cut)


def test_a_takeover_leaves_the_connection_alone(own_server: Server) -> None:
    """Another connection takes an upload over; the first one's other uploads go on."""
    server = own_server
    taken, other = server.tus.create(len(CONTENT)), server.tus.create(len(CONTENT))
    with connect(server) as client:
        first = client.start_patch(taken, 0)
        client.send(first, CONTENT[:50_000], ends=False)
        server.journal.wait_for("pre_save", id_of(taken))
        server.tus.resume(taken, CONTENT)
        client.reset(first)
        second = client.start_patch(other, 0)
        client.send(second, CONTENT)
        assert client.answer(second).offset == len(CONTENT)
    assert is_stored(server, taken) and is_stored(server, other)


def test_curl_sends_what_it_reads(server: Server, tmp_path: Path) -> None:
    """``curl -T -`` over HTTP/2 says no length."""
    curl = require_program("curl", "apt-get install curl")
    path = server.tus.create(len(CONTENT))
    assert server.certificate is not None
    command = [curl, "-sS", "--http2", "--cacert", str(server.certificate.certificate), "-X", "PATCH", "-T", "-"]
    command += ["-H", "Tus-Resumable: 1.0.0", "-H", "Upload-Offset: 0", "-H", f"Content-Type: {OCTETS}"]
    command += ["-o", os.devnull, "-w", "%{http_code} %{http_version}", f"https://localhost:{server.port}{path}"]
    sent = subprocess.run(command, input=CONTENT, capture_output=True, timeout=60)
    assert sent.stdout.split() == [b"204", b"2"], sent
    assert is_stored(server, path)


def test_http2_without_tls(shared: Serve) -> None:
    """granian speaks it to whoever begins with it."""
    server = shared("granian")
    path = server.tus.create(len(CONTENT))
    with connect(server) as client:
        stream = client.start_patch(path, 0)
        client.send(stream, CONTENT)
        assert client.answer(stream).offset == len(CONTENT)
    assert is_stored(server, path)
