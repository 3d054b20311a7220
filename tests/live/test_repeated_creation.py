"""Creations that are repeated on real servers: after time-outs of proxies, by clients that left, after crashes."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.prerequisites import require_npm_packages
from tests.prerequisites import require_program
from tests.prerequisites import ROOT

from .conftest import Serve
from .journal import PATIENCE
from .raw import Answer
from .raw import chunked
from .raw import Connection
from .raw import Headers
from .raw import OCTETS
from .servers import Server
from .servers import STREAMING

pytestmark = pytest.mark.live

SCRIPT = Path(__file__).with_name("upload_through_proxy.mjs")
SERVERS = ("gthread", "gthread2", "gevent")
CONTENT = "".join(f"{number:07}\n" for number in range(40_000)).encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
NAMED = {"Upload-Metadata": "filename " + base64.b64encode(b"rows.txt").decode()}

Request = tuple[Headers, bytes]  # of a POST


@pytest.fixture(scope="session")
def library() -> Path:
    """tus-js-client, as the demo has it."""
    return require_npm_packages(ROOT / "demo") / "tus-js-client"


def run_client(server: Server, library: Path, *, patience: float, **options: Any) -> dict[str, Any]:
    """Let tus-js-client upload the content through a proxy that waits for ``patience`` seconds."""
    file = server.home / "rows.txt"
    file.write_bytes(CONTENT)
    given = json.dumps({"metadata": {"filename": file.name}, **options})
    node = require_program("node", "apt-get install nodejs")
    command = [node, str(SCRIPT), str(library), str(file), str(server.port), str(patience * 1000), given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def is_there_once(server: Server, path: str) -> None:
    """The file is whole, and on_complete has taken effect once; there is no other file."""
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [SHA256]
    assert server.query("SELECT count(*) FROM receipt") == [(1,)]
    assert [file.name for file in server.folder.iterdir() if file.is_file()] == [path.rpartition("/")[2]]


MODES: dict[str, dict[str, Any]] = {
    "parts": {"parallelUploads": 3},
    "parts with data": {"parallelUploads": 3, "uploadDataDuringCreation": True, "headers": KEY},
    "one request": {"uploadDataDuringCreation": True, "headers": KEY},
}


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("mode", MODES)
def test_a_proxy_that_gives_up_on_a_slow_hook_does_no_harm(serve: Serve, library: Path, kind: str, mode: str) -> None:
    """on_complete takes longer than the proxy waits: the client sends its POST again and ends with success; the hook
    has run once.
    """
    server = serve(kind)
    server.order("on_complete", "sleep 3.5")
    outcome = run_client(server, library, patience=1.5, **MODES[mode])
    assert "path" in outcome, outcome
    assert outcome["counted"]["too late"] >= 1
    is_there_once(server, outcome["path"])
    assert len(server.journal.notes("on_complete")) == 1


@pytest.mark.parametrize("mode", ["parts", "parts with data"])
def test_parts_do_not_stay_where_uploads_never_expire(serve: Serve, library: Path, mode: str) -> None:
    """Two days after tus-js-client has sent a file in parts, delete_expired leaves the file and nothing else."""
    server = serve("gthread", EXPIRATION=None)
    outcome = run_client(server, library, patience=PATIENCE, **MODES[mode])
    assert len(server.query("SELECT id FROM upload")) == 4
    done = server.flask("tus", "delete_expired", ahead=2 * 24 * 3600)
    assert done.returncode == 0, done.stderr
    assert server.query("SELECT id FROM upload") == [(outcome["path"].rpartition("/")[2],)]
    files = [file for file in server.folder.rglob("*") if file.is_file() and file.stat().st_size]
    assert files == [server.finished(outcome["path"])]
    is_there_once(server, outcome["path"])


# The same on bare sockets, where each request may leave when it likes.


def parts_of(server: Server) -> Request:
    """The creation of a final upload, whose parts are there."""
    pieces = (CONTENT[:100_000], CONTENT[100_000:])
    paths = [server.tus.create(len(piece), {"Upload-Concat": "partial"}, piece) for piece in pieces]
    server.journal.path.unlink()
    headers: Headers = {"Upload-Concat": "final;" + " ".join(paths), **NAMED}
    return headers, b""


def whole_file(server: Server) -> Request:
    """A creation with all the content."""
    size = len(CONTENT)
    headers: Headers = {"Upload-Length": size, "Content-Length": size, "Content-Type": OCTETS, **KEY}
    return headers, CONTENT


def whole_file_in_chunks(server: Server) -> Request:
    """The same without Content-Length."""
    headers: Headers = {"Upload-Length": len(CONTENT), "Transfer-Encoding": "chunked", "Content-Type": OCTETS, **KEY}
    return headers, chunked([CONTENT[:70_000], CONTENT[70_000:]])


whichever = pytest.mark.parametrize("request_of", [parts_of, whole_file, whole_file_in_chunks])
RequestOf = Callable[[Server], Request]


def post(server: Server, request: Request) -> Answer:
    """Send a creation, and hear the answer."""
    with server.tus.connect() as connection:
        connection.start("POST", "/files/", request[0], body=request[1])
        return connection.answer("POST")


def post_until_created(server: Server, request: Request) -> str:
    """Send a creation as clients do, again after 423; the path of the upload."""
    deadline = time.monotonic() + 2 * PATIENCE
    while (answer := post(server, request)).status == 423:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert answer.status == 201, answer
    return "/files/" + answer.headers["location"]


def start(server: Server, request: Request, size: int | None = None) -> Connection:
    """Send a creation, or its beginning."""
    connection = server.tus.connect()
    connection.start("POST", "/files/", request[0], body=request[1][:size])
    return connection


@whichever
@pytest.mark.parametrize("kind", SERVERS)
def test_a_client_that_leaves_during_the_hook_may_ask_again(serve: Serve, kind: str, request_of: RequestOf) -> None:
    """Three connections give up while on_complete runs, the fourth waits, and hears of the one upload."""
    server = serve(kind)
    request = request_of(server)
    server.order("on_complete", "sleep 2")
    first = start(server, request)
    server.journal.wait_for("on_complete", None)
    for leave in (first.close, start(server, request).reset, start(server, request).close):
        time.sleep(0.2)  # what is not read yet, because it is not needed, cannot be waited for
        leave()
    path = post_until_created(server, request)
    is_there_once(server, path)
    assert len(server.journal.notes("on_complete")) == len(server.journal.notes("on_create")) == 1


@whichever
@pytest.mark.parametrize("kind", SERVERS)
def test_creations_at_the_same_moment_have_one_answer(serve: Serve, kind: str, request_of: RequestOf) -> None:
    """Six equal requests at once, to one process or to two: one upload, one call of each hook, one answer."""
    server = serve(kind)
    request = request_of(server)
    server.order("on_create", "sleep 0.2")
    with ThreadPoolExecutor(6) as pool:
        paths = {*pool.map(lambda _: post_until_created(server, request), range(6))}
    (path,) = paths
    is_there_once(server, path)
    assert len(server.journal.notes("on_complete")) == len(server.journal.notes("on_create")) == 1


@whichever
@pytest.mark.parametrize("hook", ["on_create", "on_complete"])
def test_a_server_that_was_killed_in_a_hook_finishes_the_upload(serve: Serve, request_of: RequestOf, hook: str) -> None:
    """kill -9 in a hook, restart: the repeated request finds the upload, calls the hook again, and gets its 201."""
    server = serve("gthread2", LEASE=2)
    request = request_of(server)
    server.order(hook, f"sleep {4 * PATIENCE}")
    with start(server, request):
        (note,) = server.journal.wait_for(hook, None)
        server.stop()
    server.countermand(hook)
    server.start()
    path = post_until_created(server, request)
    assert path == f"/files/{note.subject}"
    is_there_once(server, path)
    assert len(server.journal.notes(hook)) == 2


@pytest.mark.parametrize("request_of", [whole_file, whole_file_in_chunks])
@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("kind", SERVERS)
def test_content_that_was_cut_comes_again_from_the_start(
    serve: Serve, kind: str, request_of: RequestOf, killed: bool
) -> None:
    """The connection breaks in mid-content, or the server dies; the same request makes the upload whole, and the client
    may have given up more than once.
    """
    server = serve(kind, LEASE=2)
    request = request_of(server)
    for size in (90_000, 200_000, 30_000):
        connection = start(server, request, size)
        connection.until_delivered()
        time.sleep(0.3)
        if killed:
            server.stop()
            server.start()
        connection.reset()
    path = post_until_created(server, request)
    is_there_once(server, path)
    assert len(server.journal.notes("on_create")) == len(server.journal.notes("on_complete")) == 1


def test_a_connection_that_hangs_does_not_hold_up_the_next(serve: Serve) -> None:
    """The first connection is alive, but silent in mid-content: the same request takes the upload over at once."""
    server = serve("gthread2")
    request = whole_file(server)
    with start(server, request, 90_000) as connection:
        server.journal.wait_for("pre_save", None)
        path = post_until_created(server, request)
        assert connection.is_silent() or connection.answer("POST").status == 201
    is_there_once(server, path)


@pytest.mark.parametrize("kind", [*STREAMING, "sync"])
@pytest.mark.parametrize("request_of", [whole_file, whole_file_in_chunks])
def test_content_that_is_not_needed_is_in_nobodys_way(serve: Serve, kind: str, request_of: RequestOf) -> None:
    """Equal requests on one connection are each answered when they have been sent; so is the one that follows."""
    server = serve(kind)
    request = request_of(server)
    answers: list[Answer] = []
    with server.tus.connect() as connection:
        while not connection.is_closing and len(answers) < 3:
            connection.start("POST", "/files/", request[0], body=request[1])
            answers.append(connection.answer("POST"))
        path = "/files/" + answers[0].headers["location"]
        if not connection.is_closing:
            assert connection.request("HEAD", path).offset == len(CONTENT)
    assert post_until_created(server, request) == path
    assert {(answer.status, answer.headers["location"], answer.offset) for answer in answers} == {
        (201, path.rpartition("/")[2], len(CONTENT))
    }
    is_there_once(server, path)


def test_a_creation_of_other_content_is_told_apart(shared: Serve) -> None:
    """The key of another file is refused with a reason; its connection can be used on."""
    server = shared("gthread")
    path = post_until_created(server, whole_file(server))
    with server.tus.connect() as connection:
        for length in (1, 2 * len(CONTENT)):
            answer = connection.request("POST", "/files/", {"Upload-Length": length, **KEY})
            assert (answer.status, b"Idempotency-Key" in answer.body) == (422, True)
        assert connection.request("HEAD", path).status == 200
