"""Content that is refused while the client still sends it: the client sees the response, also through nginx."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.nginx import CONFIGURATION
from tests.nodes.nginx import Nginx
from tests.nodes.nginx import require_nginx

from .conftest import Serve
from .raw import Answer
from .raw import chunked
from .raw import Connection
from .raw import Headers
from .raw import OCTETS
from .servers import Server

pytestmark = pytest.mark.live

SIZE = 100_000_000  # of the content, in bytes: more than all buffers on the way hold
BLOCK = b"x" * 65536
MAX_SIZE = 1_000_000
UNKNOWN = "/files/" + "0" * 32
CONTENT: Headers = {"Content-Type": OCTETS, "Upload-Offset": 0}
REFUSALS: dict[str, tuple[str, str, Headers, int]] = {
    "unknown": ("PATCH", UNKNOWN, CONTENT, 404),
    "no id": ("PATCH", "/files/x", CONTENT, 404),
    "no URL": ("PATCH", "/files/x/y", CONTENT, 404),
    "too large": ("POST", "/files/", {"Content-Type": OCTETS, "Upload-Length": SIZE}, 413),
    "wrong type": ("PATCH", UNKNOWN, {"Upload-Offset": 0}, 415),
    "wrong version": ("PATCH", UNKNOWN, {**CONTENT, "Tus-Resumable": "0.2.2"}, 412),
    "wrong method": ("PUT", UNKNOWN, {}, 405),
    "coded": ("PATCH", UNKNOWN, {**CONTENT, "Content-Encoding": "gzip"}, 415),
}


@pytest.fixture(params=["gthread", "gevent"])
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    """A server that does not take such sizes."""
    return shared(request.param, MAX_SIZE=MAX_SIZE, DURABILITY="none")


@pytest.fixture(params=["direct", "nginx", "closing nginx"])
def port(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[int]:
    """The way to the server. By default, nginx makes a new connection to the app for each request."""
    if request.param == "direct":
        yield server.port
        return
    require_nginx()
    configuration = CONFIGURATION.read_text()
    if request.param == "closing nginx":
        configuration, count = re.subn(r'proxy_set_header Connection "";', "", configuration)
        assert count
    nginx = Nginx(tmp_path / "nginx", [server.port], configuration)
    yield nginx.port
    nginx.close()


def send(connection: Connection, *, is_chunked: bool = False) -> Answer:
    """Send the content until there is a response; that response."""
    block = chunked([BLOCK], ends=False) if is_chunked else BLOCK
    for _ in range(SIZE // len(BLOCK)):
        if not connection.is_silent():
            break
        connection.send(block)
    return connection.answer("PATCH")


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize(
    "framing", [{"Content-Length": SIZE}, {"Transfer-Encoding": "chunked"}], ids=["length", "chunks"]
)
def test_content_that_is_refused_at_once(port: int, refusal: str, framing: Headers) -> None:
    """It fails with its own status, and not with that of a proxy whose connection was reset."""
    method, path, headers, status = REFUSALS[refusal]
    if status == 413 and "Transfer-Encoding" in framing:
        headers = {**headers, "Upload-Length": MAX_SIZE}  # then it is refused when all of that has arrived
    for _ in range(3):
        with Connection(port) as connection:
            connection.start(method, path, {**headers, **framing})
            answer = send(connection, is_chunked="Transfer-Encoding" in framing)
            assert answer.status == status, answer


def test_content_that_is_refused_halfway(server: Server, port: int) -> None:
    """Some of it was taken before the server found out that it is too much."""
    path = server.tus.create(MAX_SIZE)
    with Connection(port) as connection:
        connection.start_patch(path, 0, {"Transfer-Encoding": "chunked"})
        answer = send(connection, is_chunked=True)
    assert answer.status == 413, answer


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_connection_can_be_used_again(server: Server, framing: str) -> None:
    """If all of the refused content has come, the next request on the connection is answered."""
    with server.tus.connect() as connection:
        for _ in range(3):
            if framing == "length":
                connection.start("PATCH", UNKNOWN, {**CONTENT, "Content-Length": 300_000}, body=b"x" * 300_000)
            else:
                body = chunked([b"x" * 70_000] * 4)
                connection.start("PATCH", UNKNOWN, {**CONTENT, "Transfer-Encoding": "chunked"}, body=body)
            assert connection.answer("PATCH").status == 404
        assert connection.request("OPTIONS", "/files/").status == 204


def test_a_client_that_does_not_stop_is_left(server: Server) -> None:
    """A refused client that sends byte by byte does not keep a thread for longer than a moment."""
    with server.tus.connect() as connection:
        connection.start("PATCH", UNKNOWN, {**CONTENT, "Content-Length": SIZE})
        assert connection.answer("PATCH").status == 404
        with pytest.raises(ConnectionError):
            while True:
                connection.send(b"x")
                connection.pause(0.05)
    assert server.tus.request("OPTIONS", "/files/").status == 204
