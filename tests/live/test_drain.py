"""A worker that stops: requests save what they have received and leave, and the worker does not wait for clients."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest

from .conftest import Serve
from .dialects import clients
from .dialects import Dialects
from .dialects import in_dialects
from .journal import PATIENCE
from .raw import Answer
from .raw import chunked
from .raw import Headers
from .raw import Tus
from .servers import id_of
from .servers import Server
from .tls import Certificate

pytestmark = pytest.mark.live

CONTENT = random.Random(15).randbytes(900_000)
SENT = 300_000  # bytes that have arrived when the server is told to stop
HELD = 50_000  # bytes that certainly fit into the kernel's buffer
READ = 4096  # bytes that a server may hold back from the app until there are more
LONG = ("--graceful-timeout", "30", "--timeout", "90")  # what a worker would wait for clients that do not end
PATCHED = {
    "gthread": ("gthread", LONG),
    "two workers": ("gthread2", LONG),
    "preloaded": ("gthread", (*LONG, "--preload")),
    "gevent": ("gevent", LONG),
    "gevent preloaded": ("gevent", (*LONG, "--preload")),
    "sync": ("sync", LONG),
}
every_worker = pytest.mark.parametrize("kind", PATCHED)


def started(serve: Serve, kind: str, **wishes: Any) -> Server:
    """A server whose workers are patient."""
    name, options = PATCHED[kind]
    return serve(name, options=options, **wishes)


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """Processes that do nothing for a while; what is sent to them stays in the kernel."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def assert_sent_off(answer: Answer | None, offset: int | None = None) -> None:
    """The client is told to come back."""
    assert answer is not None
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    if offset is not None:
        assert answer.offset == offset


def assert_kept(server: Server, path: str, sent: int) -> None:
    """The next server, or another one with the same folder and database, has all that arrived."""
    server.wait()
    server.start()
    assert server.tus.offset(path) == sent
    server.tus.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [hashlib.sha256(CONTENT).hexdigest()]


@every_worker
def test_a_server_that_is_stopped_keeps_what_has_arrived(serve: Serve, kind: str) -> None:
    """What is still in the kernel is saved, too, the client gets a 503, and the server ends without waiting for it."""
    server = started(serve, kind)
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[:1000])
        server.journal.wait_for("pre_save", id_of(path))
        with frozen(server.workers()):
            connection.send(CONTENT[1000:HELD])
            connection.until_delivered()
            server.terminate()
        assert_sent_off(connection.answer("PATCH"), HELD)
        assert_kept(server, path, HELD)


@in_dialects
def test_both_dialects_are_sent_off(serve: Serve, dialects: Dialects) -> None:
    """Clients of tus and of the draft get a status after which they resume."""
    server = started(serve, "gthread")
    first, _ = clients(dialects, server.port)
    path = first.create(len(CONTENT))
    with first.connect() as connection:
        first.start_append(connection, path, 0, len(CONTENT))
        connection.send(CONTENT[:SENT])
        server.journal.wait_for("pre_save", id_of(path))
        connection.until_delivered()
        server.terminate()
        assert_sent_off(connection.answer("PATCH"), SENT)
    server.wait()
    server.start()
    _, second = clients(dialects, server.port)
    assert second.offset(path) == SENT
    second.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_a_client_that_never_pauses_is_sent_off(serve: Serve, kind: str) -> None:
    """What it had sent until it was sent off is kept, but for what came in too late to be stored."""
    server = started(serve, kind, MIN_FREE_SPACE=None)
    block = random.Random(16).randbytes(1 << 20)
    path = server.tus.create(1 << 40)
    sent = 0
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": 1 << 40})
        with suppress(ConnectionError):
            while connection.is_silent():
                connection.send(block)
                sent += len(block)
                if sent == 64 * len(block):
                    server.terminate()
        with suppress(ConnectionError):
            assert_sent_off(connection.answer("PATCH"))
    server.wait()
    server.start()
    offset = server.tus.offset(path)
    assert 32 * len(block) < offset <= sent
    assert server.stored(path, offset)[-1000:] == (block * 2)[: len(block) + offset % len(block)][-1000:]
    assert server.tus.request("DELETE", path).status == 204


@pytest.mark.parametrize(
    ("framing", "kind"),
    [
        ("chunked", "gthread"),
        ("chunked", "gevent"),
        ("TLS", "gthread"),
        ("TLS", "gevent"),
        ("chunked in TLS", "gthread"),
    ],
)
def test_whatever_carries_the_body(serve: Serve, kind: str, framing: str, certificate: Certificate) -> None:
    """Bodies without Content-Length and those under TLS are saved, too, with what is still in the kernel."""
    server = started(serve, kind, certificate=certificate if "TLS" in framing else None)
    path = server.tus.create(len(CONTENT))
    is_chunked = "chunked" in framing
    with server.tus.connect() as connection:
        announced = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": len(CONTENT)}
        connection.start_patch(path, 0, announced)
        server.journal.wait_for("pre_save", id_of(path))

        def send(content: bytes) -> None:
            connection.send(chunked([content], ends=False) if is_chunked else content)
            connection.until_delivered()

        send(CONTENT[: SENT - HELD])
        with frozen(server.workers()):
            send(CONTENT[SENT - HELD : SENT])
            server.terminate()
        assert_sent_off(connection.answer("PATCH"), SENT)
        assert_kept(server, path, SENT)


def test_a_creation_with_content_tells_the_url(serve: Serve) -> None:
    """The client would have to send everything again if it did not know where its upload is."""
    server = started(serve, "gthread")
    with server.tus.connect() as connection:
        headers: Headers = {"Upload-Length": len(CONTENT), "Content-Type": "application/offset+octet-stream"}
        connection.start("POST", "/files/", {**headers, "Content-Length": len(CONTENT)}, body=CONTENT[:SENT])
        server.journal.wait_for("pre_save", None)
        connection.until_delivered()
        server.terminate()
        answer = connection.answer("POST")
    assert (answer.status, answer.offset) == (201, SENT)
    assert_kept(server, "/files/" + answer.headers["location"], SENT)


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_a_hook_is_not_interrupted(serve: Serve, kind: str) -> None:
    """A file that has arrived is completed, and its client is told."""
    server = started(serve, kind)
    server.order("on_complete", "sleep 2")
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT)
        server.journal.wait_for("on_complete", id_of(path))
        server.terminate()
        assert connection.answer("PATCH").status == 204
    server.wait()
    assert server.receipts(path) == [hashlib.sha256(CONTENT).hexdigest()]


@pytest.mark.parametrize("kind", ["gevent"])
@pytest.mark.parametrize("sends_rest", [True, False])
def test_content_that_counts_only_as_a_whole_gets_a_moment(serve: Serve, kind: str, sends_rest: bool) -> None:
    """Content with a checksum is received if the rest comes soon. If it does not, none of it counts."""
    server = started(serve, kind)
    digest = base64.b64encode(hashlib.sha1(CONTENT).digest()).decode()
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        headers: Headers = {"Content-Length": len(CONTENT), "Upload-Checksum": f"sha1 {digest}"}
        connection.start_patch(path, 0, headers, body=CONTENT[:SENT])
        server.journal.wait_for("pre_save", id_of(path))
        server.terminate()
        if sends_rest:
            connection.send(CONTENT[SENT:])
            assert connection.answer("PATCH").status == 204
        else:
            assert_sent_off(connection.answer("PATCH"), 0)
    server.wait()
    assert len(server.receipts(path)) == sends_rest


@pytest.mark.parametrize("kind", ["gthread"])
@pytest.mark.parametrize("sends_rest", [True, False])
def test_a_chunk_of_flow_js_gets_a_moment(serve: Serve, kind: str, sends_rest: bool) -> None:
    """A chunk is sent again as a whole, so the rest of it is received if it comes soon."""
    server = started(serve, kind)
    parameters = {
        "flowChunkNumber": 1,
        "flowChunkSize": len(CONTENT),
        "flowTotalSize": len(CONTENT),
        "flowIdentifier": "file",
        "flowFilename": "file.bin",
        "flowTotalChunks": 1,
    }
    headers: Headers = {"Content-Length": len(CONTENT), "Content-Type": "x/y"}
    with server.tus.connect() as connection:
        connection.start("POST", f"/flow/?{urlencode(parameters)}", headers, body=CONTENT[:SENT])
        server.journal.wait_for("pre_save", None)
        server.terminate()
        if sends_rest:
            connection.send(CONTENT[SENT:])
            assert connection.answer("POST").status == 200
        else:
            assert_sent_off(connection.answer("POST"))
    server.wait()
    assert server.query("SELECT count(*) FROM receipt") == [(int(sends_rest),)]


@pytest.mark.parametrize("kind", ["gthread"])
def test_a_reload_sends_off_the_requests_of_the_old_workers(serve: Serve, kind: str) -> None:
    """HUP starts new workers, which take over where the old ones have stopped."""
    server = started(serve, kind)
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[:SENT])
        server.journal.wait_for("pre_save", id_of(path))
        connection.until_delivered()
        old = server.workers()
        os.kill(server.pid, signal.SIGHUP)
        assert_sent_off(connection.answer("PATCH"), SENT)
    assert server.tus.offset(path) == SENT
    server.tus.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT
    deadline = time.monotonic() + PATIENCE
    while set(old) & set(server.workers()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["gthread"])
def test_a_worker_that_has_served_its_requests_keeps_what_has_arrived(serve: Serve, kind: str) -> None:
    """With max_requests, it takes no more clients, and its successor is started only when it has ended."""
    name, options = PATCHED[kind]
    server = serve(name, options=(*options, "--max-requests", "10"))
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[:SENT])
        server.journal.wait_for("pre_save", id_of(path))
        connection.until_delivered()
        with suppress(ConnectionError):
            while connection.is_silent():
                Tus(server.port).request("OPTIONS", "/files/")
        assert_sent_off(connection.answer("PATCH"), SENT)
    assert server.tus.offset(path) == SENT
    server.tus.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["werkzeug", "cheroot", "uwsgi", "granian"])
def test_other_servers_keep_what_the_app_has_read(serve: Serve, kind: str) -> None:
    """They end at once or are killed when they take too long. All but the last bytes that were read are kept."""
    server = serve(kind)
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[:SENT])
        deadline = time.monotonic() + PATIENCE
        while not server.part(path).exists() or server.part(path).stat().st_size < SENT - READ:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        server.terminate()
        time.sleep(0.2)
        server.stop()
    server.start()
    assert SENT - READ <= server.tus.offset(path) <= SENT
    server.tus.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT
