"""Clients that leave in mid-PATCH: what reached the server is kept, and the upload goes on there."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable

import pytest

from .conftest import Serve
from .raw import Answer
from .raw import chunked
from .raw import Connection
from .raw import Headers
from .raw import OCTETS
from .servers import id_of
from .servers import Server
from .servers import STREAMING

pytestmark = pytest.mark.live

CONTENT = random.Random(30).randbytes(1_000_000)
SENT = 300_001  # bytes; neither a whole number of blocks nor of pages
SHA256 = hashlib.sha256(CONTENT).hexdigest()

Leave = Callable[[Connection], Answer | None]


def fin(connection: Connection) -> Answer | None:
    """Half-close: the server could still be heard."""
    connection.finish()
    return connection.answer_or_end("PATCH")


def close(connection: Connection) -> None:
    """Be gone."""
    connection.until_delivered()
    connection.close()


def reset(connection: Connection) -> None:
    """Be gone rudely."""
    connection.until_delivered()
    connection.reset()


def stall(connection: Connection) -> Answer | None:
    """Stay, and send nothing more."""
    return connection.answer_or_end("PATCH")


LEAVES = [fin, close, reset, stall]


@pytest.fixture(params=STREAMING)
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    """A server that waits two seconds for a silent client."""
    return shared(request.param, IDLE_TIMEOUT=2)


def cut(server: Server, path: str, offset: int, headers: Headers, sent: bytes, leave: Leave) -> Answer | None:
    """Send less than ``headers`` promise, leave, and wait until the server is done with it."""
    ended = len(server.journal.notes("end PATCH", id_of(path)))
    with server.tus.connect() as connection:
        connection.start_patch(path, offset, headers)
        for start in range(0, len(sent), 100_000):
            connection.send(sent[start : start + 100_000])
        answer = leave(connection)
    server.journal.wait_for("end PATCH", id_of(path), count=ended + 1)
    return answer


def goes_on(server: Server, path: str) -> None:
    """The upload can be finished, and then is what the client has, once."""
    server.tus.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [SHA256]
    assert len(server.journal.notes("on_complete", id_of(path))) == 1


@pytest.mark.parametrize("leave", LEAVES)
def test_a_cut_body_is_kept_to_its_last_byte(server: Server, leave: Leave) -> None:
    """After FIN, RST or silence in mid-body, HEAD shows every byte that arrived, and the upload goes on from there."""
    path = server.tus.create(len(CONTENT))
    answer = cut(server, path, 0, {"Content-Length": len(CONTENT)}, CONTENT[:SENT], leave)
    if answer is not None:  # the client was still there to hear it
        assert (answer.status, answer.offset) == (409, SENT)
    assert server.tus.offset(path) == SENT
    assert server.stored(path, SENT) == CONTENT[:SENT]
    goes_on(server, path)


@pytest.mark.parametrize("leave", LEAVES)
def test_a_cut_chunked_body_is_kept_where_the_server_can_tell_its_bytes(server: Server, leave: Leave) -> None:
    """A chunked body cut within a chunk counts to its last byte on gunicorn; on Werkzeug, whose reader invents bytes
    then, nothing false is ever counted.
    """
    path = server.tus.create(len(CONTENT))
    pieces = [CONTENT[start : start + 70_000] for start in range(0, SENT, 70_000)]
    sent = chunked(pieces, ends=False)[: SENT + 40]
    missing = len(chunked(pieces, ends=False)) - len(sent) - 2  # of the last chunk, without its line end
    arrived = sum(map(len, pieces)) - missing
    cut(server, path, 0, {"Transfer-Encoding": "chunked"}, sent, leave)
    offset = server.tus.offset(path)
    assert offset in (range(arrived + 1) if server.kind == "werkzeug" else [arrived])
    assert server.stored(path, offset) == CONTENT[:offset]
    goes_on(server, path)


@pytest.mark.parametrize("leave", LEAVES)
def test_a_cut_body_under_a_checksum_counts_for_nothing(server: Server, leave: Leave) -> None:
    """What cannot be verified is discarded: offset and earlier bytes stay, and the content can be sent again."""
    path = server.tus.create(len(CONTENT))
    server.tus.patch(path, 0, CONTENT[:1000])
    digest = base64.b64encode(hashlib.sha1(CONTENT[1000:]).digest()).decode()
    headers: Headers = {"Content-Length": len(CONTENT) - 1000, "Upload-Checksum": f"sha1 {digest}"}
    answer = cut(server, path, 1000, headers, CONTENT[1000:SENT], leave)
    if answer is not None:
        assert (answer.status, answer.offset) == (409, 1000)
    assert server.tus.offset(path) == 1000
    assert server.stored(path, 1000) == CONTENT[:1000]
    again = server.tus.patch(path, 1000, CONTENT[1000:], {"Upload-Checksum": f"sha1 {digest}"})
    assert (again.status, again.offset) == (204, len(CONTENT))
    goes_on(server, path)


@pytest.mark.parametrize("leave", LEAVES)
def test_a_cut_body_of_a_creation_is_kept(server: Server, leave: Leave) -> None:
    """A POST that is cut in its body leaves an upload with the bytes that arrived, should its client know of it."""
    before = len(server.journal.notes("pre_save"))
    with server.tus.connect() as connection:
        headers: Headers = {"Content-Type": OCTETS, "Upload-Length": len(CONTENT), "Content-Length": len(CONTENT)}
        connection.start("POST", "/files/", headers, body=CONTENT[:SENT])
        upload = server.journal.wait_for("pre_save", None, count=before + 1)[-1].subject
        leave(connection)
    server.journal.wait_for("post_save", upload)
    assert server.tus.offset(f"/files/{upload}") == SENT
    goes_on(server, f"/files/{upload}")


def test_silent_clients_give_their_threads_back(shared: Serve) -> None:
    """As many silent clients as the server has threads hold it up only until they count as gone."""
    server = shared("gthread", IDLE_TIMEOUT=2)
    path = server.tus.create(len(CONTENT))
    silent = [server.tus.create(len(CONTENT)) for _ in range(8)]
    connections = [server.tus.connect() for _ in silent]
    for connection, held in zip(connections, silent, strict=True):
        connection.start_patch(held, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[:100])
    assert server.tus.offset(path) == 0
    for connection, held in zip(connections, silent, strict=True):
        connection.close()
        server.journal.wait_for("end PATCH", id_of(held))
        assert server.tus.offset(held) == 100
