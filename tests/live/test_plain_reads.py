"""Servers that hand out bodies by ``wsgi.input.read`` alone: a cut costs a hundredth of what was sent, or less."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from .conftest import Serve
from .raw import Connection
from .servers import id_of
from .servers import Server

pytestmark = pytest.mark.live

CONTENT = random.Random(41).randbytes(1_000_000)
Leave = Callable[[Connection], None]


def reset(connection: Connection) -> None:
    """Be gone rudely, after the server's kernel has it all."""
    connection.until_delivered()
    connection.pause(0.3)  # the server has taken it out of its kernel, which forgets it with the connection
    connection.reset()


LEAVES = [Connection.close, reset]


@pytest.fixture(params=["granian", "uwsgi", "cheroot"])
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    """A server of a kind that streams."""
    return shared(request.param)


@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("sent", [1, 9_000, 300_000, 999_999])
def test_what_was_sent_before_a_cut_is_kept_but_for_a_small_block(server: Server, leave: Leave, sent: int) -> None:
    """After FIN or RST, 99 % are there, or all but 2 KiB; they are what was sent, and the upload goes on from there."""
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[:sent])
        leave(connection)
    server.journal.wait_for("end PATCH", id_of(path))
    offset = server.tus.offset(path)
    assert min(sent * 0.99, sent - 2048) <= offset <= sent
    assert server.stored(path, offset) == CONTENT[:offset]
    server.tus.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 1_000_000, 30_000_000])
def test_bodies_of_all_sizes_are_whole(server: Server, size: int) -> None:
    """Small reads at first, larger ones later: every byte is there, and the connection goes on after them."""
    content = random.Random(size).randbytes(size)
    path = server.tus.create(size)
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": size}, body=content)
        assert connection.answer("PATCH").offset == size
    assert server.finished(path).read_bytes() == content


def test_a_slow_client_is_heard_piece_by_piece(shared: Serve) -> None:
    """A client that sends a few bytes at a time gets on, though the server waits for all that is asked of it."""
    server = shared("granian")
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[:1500])
        for start in range(1500, 3000, 100):
            connection.send(CONTENT[start : start + 100])
            connection.pause(0.2)
        for start in range(3000, 3500, 100):
            connection.send(CONTENT[start : start + 100])
            connection.pause(0.2)
    server.journal.wait_for("end PATCH", id_of(path))
    assert server.tus.offset(path) >= 3400
