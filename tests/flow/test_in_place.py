"""Chunks that are written to their places while they come in: what is stored is one body, whole, and nothing else."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.live.conftest import Serve
from tests.live.raw import chunked
from tests.live.servers import Server

from .chunk_message import a_file
from .chunk_message import begun
from .chunk_message import CHUNK
from .chunk_message import complete
from .chunk_message import END
from .chunk_message import ended
from .chunk_message import is_there
from .chunk_message import leftovers
from .chunk_message import Message
from .chunk_message import other
from .chunk_message import sent
from .chunk_message import WAYS
from .client import Part
from .socket_client import address

pytestmark = pytest.mark.live


@pytest.fixture(params=["gthread", "gevent"])
def server(request: pytest.FixtureRequest, shared_live: Serve) -> Server:
    """A server of one worker."""
    return shared_live(request.param, DURABILITY="none")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How chunks are sent."""
    return str(request.param)


@pytest.mark.parametrize("forced", [False, True])
def test_each_chunk_gets_to_its_place(server: Server, way: str, forced: bool) -> None:
    """In any order, also a last one that is longer or shorter than the others."""
    file = a_file("places.bin", forced=forced)
    for number in reversed(file.numbers):
        assert sent(server, Message(way, file, number)).status == 200
    assert complete(server, file) == file.content
    assert leftovers(server) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"end": END},
        {"end": END + b"\r\nAn epilogue."},
        {"end": END + b"--"},
        {"before": b"A preamble.\r\n"},
        {"behind": (Part("token", b"secret"),)},
        {"behind": (Part("notes", b"x" * 60_000),)},
    ],
)
def test_forms_of_all_shapes(server: Server, changes: dict[str, object]) -> None:
    """With or without a last line end, with something before, between and behind: the chunk is what the file was."""
    file = a_file("shapes.bin")
    for number in file.numbers:
        assert sent(server, replace(Message("form", file, number), **changes)).status == 200  # type: ignore[arg-type]
    assert complete(server, file) == file.content


@pytest.mark.parametrize("surplus", [-70_000, -2, -1, 1, 2, 100, 100_000])
def test_a_body_of_the_wrong_size_touches_no_neighbour(server: Server, way: str, surplus: int) -> None:
    """It is refused, what lies behind the chunk stays as it was, and the right one can be sent."""
    file = a_file("sizes.bin")
    assert sent(server, Message(way, file, 2)).status == 200
    wrong = (other(file, 1) + b"\0" * 100_000)[: CHUNK + surplus]
    assert sent(server, Message(way, file, 1, wrong)).status == 400
    assert not is_there(server, file, 1)
    assert complete(server, file) == file.content


@pytest.mark.parametrize("tail", [END + b"--", END, END + b"\r\n"])
@pytest.mark.parametrize("size", [CHUNK - 70_000, CHUNK - 2, CHUNK + 2, CHUNK + 50])
def test_a_length_that_was_made_to_fit_is_seen_through(server: Server, size: int, tail: bytes) -> None:
    """The file is shorter or longer than the chunk, but the form as long as one that would be right."""
    file = a_file("fitted.bin")
    assert sent(server, Message("form", file, 2)).status == 200
    right = Message("form", file, 1)
    message = replace(right, body=other(file, 1)[:size].ljust(size, b"z"), end=tail)
    missing = len(right.content) - len(message.content)
    if missing > 0:
        message = replace(message, end=tail + b"e" * missing)
    assert sent(server, message).status == 400
    assert not is_there(server, file, 1)
    assert complete(server, file) == file.content


def test_a_chunk_whose_size_is_not_announced(server: Server) -> None:
    """Transfer-Encoding: chunked; too long, cut, and right."""
    file = a_file("chunked.bin")
    assert sent(server, Message("octet", file, 2)).status == 200
    fields = {"Transfer-Encoding": "chunked", "Content-Type": "application/octet-stream"}
    for body, is_whole, status in (
        (other(file, 1) + b"more", True, 400),
        (other(file, 1)[:100_000], False, 503),
        (file.piece(1), True, 200),
    ):
        with server.tus.connect() as connection:
            connection.start("POST", address(file, 1), fields, body=chunked([body], ends=is_whole))
            if not is_whole:
                connection.finish()
            assert connection.answer("POST").status == status
    assert complete(server, file) == file.content


def test_fields_behind_the_file_that_name_another_file(server: Server) -> None:
    """The chunk lies in the place that the fields before it named: it is refused, and counts nowhere."""
    file = a_file("before.bin")
    name = replace(file, path="behind/before.bin")
    behind = (Part("flowRelativePath", name.path.encode()),)
    assert sent(server, Message("form", file, 1, without="flowRelativePath", behind=behind)).status == 400
    assert not is_there(server, file, 1)
    assert not is_there(server, name, 1)
    assert complete(server, file) == file.content


@pytest.mark.parametrize("leave", ["finish", "reset"])
def test_a_cut_chunk_counts_for_nothing(server: Server, way: str, leave: str) -> None:
    """Other bytes can be sent in its place."""
    file = a_file("cut.bin")
    with server.tus.connect() as connection:
        begun(server, Message(way, file, 1, other(file, 1)), connection, 0.7)
        if leave == "finish":
            connection.finish()
            assert connection.answer("POST").status == 503
        else:
            connection.reset()
    assert not is_there(server, file, 1)
    assert complete(server, file) == file.content


def test_a_stalled_chunk_is_overtaken(server: Server, way: str) -> None:
    """Nobody waits for it. When it moves on, it is told that the chunk is there, and changes nothing."""
    file = a_file("stalled.bin")
    with server.tus.connect() as stalled:
        rest = begun(server, Message(way, file, 2, other(file, 2)), stalled, 0.1)
        assert sent(server, Message(way, file, 2)).status == 200
        answer = ended(stalled, rest)
    assert answer.status == 200, answer
    assert complete(server, file) == file.content


@pytest.mark.parametrize("size", [None, CHUNK - 70_000, CHUNK + 70_000])
def test_a_stalled_chunk_is_overtaken_by_one_that_was_received_whole(
    server: Server, way: str, size: int | None
) -> None:
    """One with a checksum, that is; a stalled one of the wrong size is told so."""
    file = a_file("spooled.bin")
    wrong = None if size is None else other(file, 1).ljust(CHUNK + 70_000, b"z")[:size]
    with server.tus.connect() as stalled:
        rest = begun(server, Message(way, file, 1, wrong or other(file, 1)), stalled)
        digest = "sha1 " + base64.b64encode(hashlib.sha1(file.piece(1)).digest()).decode()
        assert sent(server, Message(way, file, 1, headers={"Upload-Checksum": digest})).status == 200
        assert ended(stalled, rest).status == (200 if wrong is None else 400)
    assert complete(server, file) == file.content


def test_the_last_to_begin_may_be_cut(server: Server, way: str) -> None:
    """Then the one before it is told to send its chunk again, and the file has neither's bytes."""
    file = a_file("neither.bin")
    with server.tus.connect() as first, server.tus.connect() as second:
        rest = begun(server, Message(way, file, 1, other(file, 1, 8)), first, 0.4)
        begun(server, Message(way, file, 1, other(file, 1, 9)), second, 0.7)
        second.reset()
        assert ended(first, rest).status == 503
    assert not is_there(server, file, 1)
    assert complete(server, file) == file.content


@pytest.mark.parametrize("ending", ["whole", "cut"])
def test_a_cancel_in_the_middle_of_a_chunk(server: Server, way: str, ending: str) -> None:
    """404, and no file comes back, however the request goes on."""
    others = leftovers(server)
    file = a_file("cancelled.bin")
    with server.tus.connect() as slow:
        rest = begun(server, Message(way, file, 1), slow)
        assert server.tus.request("DELETE", address(file, 1)).status == 204
        if ending == "whole":
            assert ended(slow, rest).status == 404
        else:
            slow.send(rest[:1000])
            slow.finish()
            slow.answer("POST")
    assert leftovers(server) == others


@pytest.mark.parametrize("ending", ["whole", "cut"])
def test_a_finish_in_the_middle_of_a_chunk(server: Server, way: str, ending: str) -> None:
    """The file is complete, and stays as it is, however the request goes on."""
    others = leftovers(server)
    file = a_file("finished.bin")
    with server.tus.connect() as slow:
        rest = begun(server, Message(way, file, 1, other(file, 1)), slow)
        stored = complete(server, file)
        if ending == "whole":
            assert ended(slow, rest).status == 200
        else:
            slow.send(rest[:1000])
            slow.finish()
            slow.answer("POST")
    assert stored == complete(server, file) == file.content
    assert leftovers(server) == others


def test_an_expiry_in_the_middle_of_a_chunk(quick_disk: Path, serve_live: Serve, way: str) -> None:
    """The upload is removed as if nobody were there; the chunk is told so, and leaves nothing."""
    server = serve_live("gthread", quick_disk / "home", DURABILITY="none")
    file = a_file("expired.bin")
    with server.tus.connect() as slow:
        rest = begun(server, Message(way, file, 1), slow)
        assert server.flask("tus", "delete_expired", ahead=3 * 24 * 3600).returncode == 0
        assert ended(slow, rest).status == 404
    assert leftovers(server) == []
