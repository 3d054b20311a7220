"""Chunks that come in while hooks, disks and servers make trouble: nothing is lost, mixed or left open."""

from __future__ import annotations

import random
import resource
from pathlib import Path

import pytest

from tests.live.conftest import Serve
from tests.live.raw import Connection
from tests.live.servers import Server

from .chunk_message import a_file
from .chunk_message import begun
from .chunk_message import CHUNK
from .chunk_message import complete
from .chunk_message import ended
from .chunk_message import is_there
from .chunk_message import leftovers
from .chunk_message import Message
from .chunk_message import other
from .chunk_message import sent
from .chunk_message import WAYS
from .client import Sample

pytestmark = pytest.mark.live


@pytest.fixture(params=["gthread", "gevent"])
def server(request: pytest.FixtureRequest, quick_disk: Path, serve_live: Serve) -> Server:
    """A server of the test's own, of one worker."""
    return serve_live(request.param, quick_disk / "home", DURABILITY="none")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How chunks are sent."""
    return str(request.param)


def test_a_hook_that_refuses(server: Server, way: str) -> None:
    """The client hears it though it has the chunk still to send; then other bytes can be sent."""
    file = Sample(random.Random(1).randbytes(16_000_000), 8_000_000, "refused.bin")
    assert sent(server, Message(way, file, 2)).status == 200
    server.order("pre_save", "fail")
    assert sent(server, Message(way, file, 1, other(file, 1))).status == 503
    server.countermand("pre_save")
    assert not is_there(server, file, 1)
    assert complete(server, file) == file.content


def test_a_killed_server(server: Server, way: str) -> None:
    """SIGKILL in the middle of a chunk: it counts for nothing, and others' bytes take its place."""
    file = a_file("killed.bin")
    assert sent(server, Message(way, file, 2)).status == 200
    with server.tus.connect() as connection:
        begun(server, Message(way, file, 1, other(file, 1)), connection, 0.8)
        server.stop()
    server.start()
    assert not is_there(server, file, 1)
    assert complete(server, file) == file.content
    assert leftovers(server) == []


def test_a_full_disk(server: Server, way: str) -> None:
    """507 or the end of the connection in the middle of a chunk; the next chunks get their own bytes."""
    file = a_file("full.bin")
    (worker,) = server.workers()
    soft, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (CHUNK // 2, hard))
    try:
        with server.tus.connect() as connection:
            try:
                assert Message(way, file, 1, other(file, 1)).send(connection).status == 507
            except ConnectionError:
                pass
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (soft, hard))
    assert not is_there(server, file, 1)
    assert complete(server, file) == file.content


def test_nothing_stays_open(server: Server) -> None:
    """Cut, refused, overtaken and wrong chunks, again and again: the worker has no more descriptors than before."""

    def trouble(number: int) -> None:
        file = a_file(f"{number}.bin")
        way = WAYS[number % 2]
        with server.tus.connect() as first, server.tus.connect() as second:
            rest = begun(server, Message(way, file, 1, other(file, 1)), first)
            begun(server, Message(way, file, 1), second, 0.8)
            second.reset()
            assert ended(first, rest).status == 503
        assert sent(server, Message(way, file, 1, b"x" * (CHUNK + 1))).status == 400
        server.order("pre_save", "fail")
        assert sent(server, Message(way, file, 1)).status == 503
        server.countermand("pre_save")
        assert complete(server, file) == file.content

    def count() -> int:
        return len([*Path(f"/proc/{server.workers()[0]}/fd").iterdir()])

    trouble(0)
    trouble(1)
    before = count()
    for number in range(2, 14):
        trouble(number)
    assert count() <= before + 6  # connections that linger, spare pipes


def test_random_lives_of_chunks(server: Server) -> None:
    """Many half-sent requests at a time for the same chunks, moved on, cut and overtaken in any order."""
    choices = random.Random(5)
    for life in range(12):
        file = a_file(f"life{life}.bin", forced=True)
        bodies: dict[int, list[bytes]] = {number: [] for number in file.numbers}
        flying: list[tuple[Connection, bytes]] = []
        for step in range(12):
            if flying and choices.random() < 0.5:
                connection, rest = flying.pop(choices.randrange(len(flying)))
                if choices.random() < 0.5:
                    assert ended(connection, rest).status in (200, 503)
                connection.close()
                continue
            number = choices.choice(file.numbers)
            body = other(file, number, 100 * life + step)
            bodies[number].append(body)
            connection = Connection(server.port)
            rest = Message(choices.choice(WAYS), file, number, body).begin(connection, choices.random())
            flying.append((connection, rest))
        for connection, rest in flying:
            assert ended(connection, rest).status in (200, 503)
            connection.close()
        stored = Sample(complete(server, file), CHUNK, forced=True)
        for number in file.numbers:
            assert stored.piece(number) in [*bodies[number], file.piece(number)], (life, number)
    assert leftovers(server) == []
