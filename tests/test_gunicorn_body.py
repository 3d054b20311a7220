"""Chunked bodies, straight from gunicorn's parser."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.http.body import Body
from gunicorn.http.body import ChunkedReader
from gunicorn.http.unreader import SocketUnreader

from flask_resumable.wsgi.gunicorn import GunicornFrames
from flask_resumable.wsgi.gunicorn import is_framed
from flask_resumable.wsgi.sources import BLOCK_SIZE

CONTENT = random.Random(8).randbytes(3_000_000)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's end of a connection, and the server's."""
    client, server = socket.socketpair()
    with client, server:
        yield client, server


def body_on(server: socket.socket) -> Any:
    """What gunicorn puts into ``wsgi.input``."""
    unreader = SocketUnreader(server)
    return Body(ChunkedReader(SimpleNamespace(trailers=[], unreader=unreader), unreader))


def read(source: GunicornFrames, size: int) -> bytes:
    """Wait for something, and take it."""
    while (block := source.take(size)) is None:
        source.wait()
    return bytes(block)


def frames(content: bytes, sizes: list[int]) -> bytes:
    """The content as it goes over the wire, in frames of these sizes and a last one with the rest."""
    wire, start = b"", 0
    for size in [*sizes, len(content)]:
        piece = content[start : start + size]
        wire += b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        start += size
    return wire


@pytest.mark.parametrize("size", [1, 100, 8192, 65_536, 1_000_000])
def test_content_comes_whole_in_whatever_frames(ends: tuple[socket.socket, socket.socket], size: int) -> None:
    """Byte for byte, in blocks of bounded size, however much is asked for at a time; the end stays the end."""
    client, server = ends
    content = CONTENT[: size * 3000]
    wire = frames(content, [size] * (len(content) // size)) + b"0\r\n\r\n"
    sending = threading.Thread(target=client.sendall, args=[wire])
    sending.start()
    stream = body_on(server)
    assert is_framed({"gunicorn.socket": server, "SERVER_PROTOCOL": "HTTP/1.1"}, stream)
    source = GunicornFrames(stream, server, 5.0)
    found, asked = bytearray(), random.Random(size)
    while block := read(source, asked.choice((1, 77, 9000, 10_000_000))):
        assert len(block) <= BLOCK_SIZE
        found += block
    sending.join()
    assert found == content
    assert read(source, 10) == b""
    source.close()
    assert stream.read() == b""


def test_what_was_found_and_not_asked_for_is_left_to_gunicorn(ends: tuple[socket.socket, socket.socket]) -> None:
    """It reads on to the end of the body, to find the next request."""
    client, server = ends
    client.sendall(frames(b"0123456789", [4]) + b"0\r\n\r\n")
    stream = body_on(server)
    source = GunicornFrames(stream, server, 5.0)
    assert read(source, 2) == b"01"
    source.close()
    assert stream.read() == b"23456789"
    assert server.gettimeout() is None


@pytest.mark.parametrize("ending", [b"", b"5\r\nab", b"xyz\r\n", b"3\r\nabcd\r\n", b"xyz" * 99])
def test_what_came_before_a_fault_is_not_lost(ends: tuple[socket.socket, socket.socket], ending: bytes) -> None:
    """First the content, then the fault, again and again; and gunicorn must not take the rest for a request."""
    client, server = ends
    client.sendall(frames(CONTENT[:50_000], [20_000]) + ending)
    client.shutdown(socket.SHUT_WR)
    stream = body_on(server)
    source = GunicornFrames(stream, server, 5.0)
    found = b""
    with pytest.raises(Exception) as fault:  # noqa: PT011 - gunicorn has classes of its own, others in each version
        while block := read(source, 10**6):
            found += block
    assert found[:50_000] == CONTENT[:50_000]
    assert found[50_000:] in (b"", b"ab", b"abc")
    with pytest.raises(type(fault.value)):
        read(source, 1)
    assert stream.failed


def test_a_client_that_pauses_keeps_nothing_back(ends: tuple[socket.socket, socket.socket]) -> None:
    """What it has sent comes out at once, though the frame has ended and the next one has not begun."""
    client, server = ends
    client.sendall(frames(CONTENT[:100_000], [30_000]))
    stream = body_on(server)
    source = GunicornFrames(stream, server, 0.5)
    found = b""
    while len(found) < 100_000:
        found += read(source, 10**6)
    assert found == CONTENT[:100_000]
    assert not getattr(stream, "failed", False)  # nothing has waited for more until it gave up
    with pytest.raises(TimeoutError):
        read(source, 1)


@pytest.mark.parametrize("how", ["read", "readline"])
def test_a_body_that_somebody_has_begun_to_read_is_left_to_gunicorn(
    ends: tuple[socket.socket, socket.socket], how: str
) -> None:
    """Some of it is in one of two buffers then."""
    client, server = ends
    client.sendall(frames(CONTENT[:4096], [1024] * 3))
    stream = body_on(server)
    assert getattr(stream, how)(2) == CONTENT[:2]
    assert not is_framed({"gunicorn.socket": server, "SERVER_PROTOCOL": "HTTP/1.1"}, stream)
