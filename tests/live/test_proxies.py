"""The configurations of docs/proxies.md, in real Caddy and HAProxy."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from tests.nodes.proxies import configuration
from tests.nodes.proxies import Proxy
from tests.nodes.proxies import require_proxy

from .conftest import Serve
from .dialects import clients
from .dialects import Dialects
from .dialects import in_dialects
from .ietf import Ietf
from .raw import Answer
from .raw import chunked
from .raw import Connection
from .raw import OCTETS
from .raw import Tus
from .servers import id_of
from .servers import Server
from .test_nginx import Client
from .test_nginx import is_there_once
from .test_nginx import kill

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("proxies")]

CONTENT = random.Random(17).randbytes(3_000_000)
HALF = 150_000  # bytes of a request that is cut after twice as many
LIMIT = 50_000_000  # bytes of an upload
OPTIONS = ("--limit-request-field_size", "32768")
STEP = 500_000  # bytes in a PATCH of tus-js-client
KINDS = ["caddy", "haproxy"]


class Way:
    """A server, and a proxy in front of it."""

    def __init__(self, server: Server, proxy: Proxy) -> None:
        self.server = server
        self.proxy = proxy
        self.tus = Tus(proxy.port)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which proxy it is."""
    require_proxy(request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def way(kind: str, shared: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """A proxy, and two nodes behind it that are one."""
    server = shared("gevent", options=OPTIONS, MAX_SIZE=LIMIT, INTERIM_RESPONSES="on")
    proxy = Proxy(kind, tmp_path_factory.mktemp("proxies") / kind, [server.port, server.port])
    yield Way(server, proxy)
    proxy.close()


def _arrived(server: Server, path: str, size: int, connection: Connection) -> None:
    while not server.part(path).exists() or server.part(path).stat().st_size < size:
        assert connection.is_silent()


# --- bodies ---


@in_dialects
def test_uploads_pass(way: Way, dialects: Dialects) -> None:
    """Whichever protocol begins and whichever goes on."""
    sender, watcher = clients(dialects, way.proxy.port)
    path = sender.create(len(CONTENT))
    assert sender.append(path, 0, CONTENT[:STEP], is_last=False).status // 100 == 2
    assert watcher.head(path).offset == STEP
    assert watcher.append(path, STEP, CONTENT[STEP:], is_last=True).status // 100 == 2
    assert way.server.finished(path).read_bytes() == CONTENT


def test_a_large_body_passes(way: Way) -> None:
    """Forty megabytes in one request."""
    content = CONTENT * 13
    path = way.tus.create(len(content))
    assert way.tus.patch(path, 0, content).status == 204
    assert sha256(way.server.finished(path).read_bytes()).digest() == sha256(content).digest()


def test_a_chunked_body_passes(way: Way) -> None:
    """A body whose length is not known before."""
    path = way.tus.create(len(CONTENT))
    pieces = [CONTENT[start : start + 70_000] for start in range(0, len(CONTENT), 70_000)]
    with way.tus.connect() as connection:
        connection.start_patch(path, 0, {"Transfer-Encoding": "chunked"}, body=chunked(pieces))
        assert connection.answer("PATCH").status == 204
    assert way.server.finished(path).read_bytes() == CONTENT


def test_a_slow_body_is_passed_on_as_it_arrives(way: Way) -> None:
    """Each piece is on the disk before the next one is sent."""
    path = way.tus.create(len(CONTENT))
    with way.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)})
        for start in range(0, 5000, 1000):
            connection.send(CONTENT[start : start + 1000])
            _arrived(way.server, path, start + 1000, connection)
    way.tus.resume(path, CONTENT)


@pytest.mark.parametrize("leave", [Connection.close, Connection.reset])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_what_a_client_sent_before_it_left_is_kept(
    way: Way, kind: str, framing: str, leave: Callable[[Connection], None]
) -> None:
    """HAProxy drops what it has not passed on yet; Caddy drops nothing."""
    path = way.tus.create(len(CONTENT))
    headers = {"Content-Length": len(CONTENT)} if framing == "length" else {"Transfer-Encoding": "chunked"}
    with way.tus.connect() as connection:
        connection.start_patch(path, 0, headers)
        for piece in (CONTENT[:HALF], CONTENT[HALF : 2 * HALF]):
            connection.send(piece if framing == "length" else chunked([piece], ends=False))
            if piece == CONTENT[:HALF]:
                _arrived(way.server, path, HALF, connection)
        connection.until_delivered()
        leave(connection)
    way.server.journal.wait_for("end PATCH", id_of(path), count=1)
    offset = way.tus.offset(path)
    assert offset == 2 * HALF if kind == "caddy" else HALF <= offset <= 2 * HALF
    assert way.server.stored(path, offset) == CONTENT[:offset]
    way.tus.resume(path, CONTENT)
    assert way.server.finished(path).read_bytes() == CONTENT


# --- responses ---


def test_a_client_that_expects_a_100_gets_it(way: Way) -> None:
    """It then sends its body."""
    path = way.tus.create(len(CONTENT))
    with way.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT), "Expect": "100-continue"})
        assert connection.interim() == 100
        connection.send(CONTENT)
        assert connection.answer("PATCH").status == 204
    assert way.server.finished(path).read_bytes() == CONTENT


def _sends_until_it_hears(connection: Connection) -> None:
    """Caddy passes a response on when it gets the next piece of the body."""
    with suppress(ConnectionError):
        while connection.is_silent():
            connection.send(b"x" * 1000)
            connection.pause(0.05)


def test_a_refusal_reaches_a_client_that_is_still_sending(way: Way) -> None:
    """It is not replaced by a 502, and has the app's reason."""
    size = LIMIT + 1
    with way.tus.connect() as connection:
        connection.start("POST", "/files/", {"Upload-Length": size, "Content-Length": size, "Content-Type": OCTETS})
        _sends_until_it_hears(connection)
        answer = connection.answer("POST")
    assert (answer.status, b"50000000" in answer.body) == (413, True)


def test_long_headers_pass(way: Way) -> None:
    """Metadata of 14 KB comes back, and a field of 30 KB arrives."""
    metadata = "filename " + "QUFB" * 3500
    path = way.tus.create(1, {"Upload-Metadata": metadata, "Cookie": "a=" + "b" * 30_000})
    assert way.tus.head(path).headers["upload-metadata"] == metadata


def test_a_104_passes(way: Way) -> None:
    """Unlike nginx, both know interim responses."""
    ietf = Ietf(way.proxy.port, 6)
    with ietf.connect() as connection:
        connection.start("POST", "/files/", {"Upload-Complete": "?1", "Content-Length": 5, "Content-Type": "a/b"})
        assert connection.interim() == 104
        connection.send(b"hello")
        assert connection.answer("POST").status in (200, 201)


# --- restarts ---


@pytest.fixture
def nodes(serve: Serve, tmp_path: Path) -> list[Server]:
    """Two nodes, which share everything."""
    return [serve("gevent", home=tmp_path / "shared", LEASE=1) for _ in range(2)]


@pytest.fixture
def pair(kind: str, nodes: list[Server], tmp_path: Path) -> Iterator[Tus]:
    """The proxy in front of them."""
    proxy = Proxy(kind, tmp_path / kind, [node.port for node in nodes])
    yield Tus(proxy.port)
    proxy.close()


def _answers_while_nobody_serves(tus: Tus, path: str) -> dict[str, Answer]:
    flow = "/flow/?flowChunkNumber=1&flowChunkSize=9&flowTotalSize=9&flowIdentifier=a&flowFilename=a&flowTotalChunks=1"
    return {
        "HEAD": tus.head(path),
        "HEAD of the draft": tus.request("HEAD", path, {"Upload-Draft-Interop-Version": "8"}),
        "PATCH": tus.patch(path, STEP, CONTENT[STEP : STEP + 10]),
        "POST": tus.request("POST", "/files/", {"Upload-Length": 1}),
        "DELETE": tus.request("DELETE", path),
        "chunk": tus.request("POST", flow, {"Content-Type": "x/y"}, b"x" * 9),
    }


def test_the_proxy_answers_while_nobody_serves(pair: Tus, nodes: list[Server]) -> None:
    """A HEAD of tus gets a 423, all else a 503 with Retry-After; afterwards the upload goes on."""
    path = pair.create(len(CONTENT))
    assert pair.patch(path, 0, CONTENT[:STEP]).status == 204
    for node in nodes:
        kill(node)
    for _ in range(2):  # before and after it knows
        answers = _answers_while_nobody_serves(pair, path)
        statuses = {name: answer.status for name, answer in answers.items()}
        assert statuses == dict.fromkeys(answers, 503) | {"HEAD": 423}
        assert {answer.headers["retry-after"] for answer in answers.values()} == {"2"}
    for node in nodes:
        node.start()
    pair.until_complete(path)
    pair.resume(path, CONTENT)
    is_there_once(nodes[0], path)


def test_tus_js_client_goes_on_when_a_node_dies(pair: Tus, nodes: list[Server], tmp_path: Path) -> None:
    """At the other one, and when both were away; it never creates its upload anew."""
    client = Client(tmp_path, f"http://127.0.0.1:{pair.port}/files/", chunkSize=STEP)
    try:
        client.until("ready")
        for node in nodes:
            node.signal_group(signal.SIGKILL)
            node.wait()
        client.go_on()
        client.until("HEAD 423")
        nodes[1].start()
        path = "/files/" + id_of(client.end()["url"])
    finally:
        client.close()
    is_there_once(nodes[1], path)
    assert client.lines.count("POST 201") == 1


def test_no_content_is_sent_to_two_nodes(pair: Tus, nodes: list[Server]) -> None:
    """The node that has a PATCH dies: its client learns it, and the other node has not been asked."""
    path = pair.create(len(CONTENT))
    with pair.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)})
        connection.send(CONTENT[:STEP])
        _arrived(nodes[0], path, STEP, connection)
        (note,) = nodes[0].journal.notes("pre_save", id_of(path))
        (holder,) = (node for node in nodes if note.pid in node.workers())
        kill(holder)
        _sends_until_it_hears(connection)
        answer = connection.answer_or_end("PATCH")
    assert answer is None or answer.status in (502, 503)
    assert len(nodes[0].journal.notes("pre_save", id_of(path))) == 1
    pair.until_complete(path)
    pair.resume(path, CONTENT)
    is_there_once(nodes[0], path)


def test_content_for_a_dead_node_does_not_take_the_other_one_away(pair: Tus, nodes: list[Server]) -> None:
    """Caddy counts a body that it cannot send again as a failure of the node that it tries next."""
    path = pair.create(len(CONTENT))
    kill(nodes[0])
    for offset in (0, 10):
        assert pair.patch(path, offset, CONTENT[offset : offset + 10]).status in (204, 409, 503)
    assert pair.head(path).status == 200
    nodes[0].start()
    pair.resume(path, CONTENT)
    is_there_once(nodes[1], path)


# --- the page ---


COMMANDS = {
    "caddy": ("Caddyfile", "validate --adapter caddyfile --config Caddyfile"),
    "haproxy": ("haproxy.cfg", "-c -f haproxy.cfg"),
}


def test_the_program_itself_finds_no_fault_with_its_configuration(kind: str, tmp_path: Path) -> None:
    """Caddy looks at the format as well."""
    name, words = COMMANDS[kind]
    (tmp_path / name).write_text(configuration(name))
    command = [require_proxy(kind), *words.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr
