"""Which system calls move a body, how many bytes each, and what becomes of the upload when one of them fails."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import ExitStack
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import Serve
from .raw import Answer
from .raw import Headers
from .servers import id_of
from .servers import Server
from .watching import Watch
from .watching import watching

pytestmark = pytest.mark.live

KIB = 1024
MIB = 1024 * KIB
CONTENT = random.Random(6).randbytes(8 * MIB)
OTHER = random.Random(7).randbytes(2 * MIB + 77)
READ_AHEAD = 64 * KIB  # at most; what gunicorn has read along with the head
SPLICING = ("gthread", "gevent")
# Each splice waits, so that a client that sends fast has filled the socket, however busy the machine is.
SLOWLY = "splice:delay_enter=3000"


@pytest.fixture(params=SPLICING)
def server(request: pytest.FixtureRequest, serve: Serve, quick_disk: Path) -> Server:
    """A server of the test's own, of one worker."""
    return serve(request.param, quick_disk / request.param, DURABILITY="none")


def send(server: Server, path: str, content: bytes, offset: int = 0, headers: Headers | None = None) -> Answer:
    """One PATCH, its body sent behind its head."""
    with server.tus.connect() as connection:
        connection.start_patch(path, offset, {"Content-Length": len(content), **(headers or {})})
        connection.send(content)
        return connection.answer("PATCH")


def is_stored(server: Server, path: str, content: bytes) -> bool:
    """Whether the upload has become a file of exactly this content."""
    return server.finished(path).read_bytes() == content


def spliced(watch: Watch) -> tuple[list[int], list[int]]:
    """How many bytes each splice took from the socket, and put into the file."""
    done = [call for call in watch.calls("splice") if call.result > 0]
    return [call.result for call in done if call.is_from_socket], [call.result for call in done if call.is_to_file]


def received(watch: Watch) -> int:
    """Bytes that were read from connections into the server's memory."""
    calls = [call for call in watch.calls("recvfrom", "recvmsg", "read", "readv") if "MSG_PEEK" not in call.arguments]
    return sum(call.result for call in calls if call.result > 0 and call.is_from_socket)


def written(watch: Watch) -> int:
    """Bytes that were written to the upload's file from the server's memory."""
    calls = watch.calls("write", "writev", "pwrite64", "pwritev", "pwritev2")
    return sum(call.result for call in calls if call.result > 0 and call.is_to_file)


@contextmanager
def no_room_beyond(server: Server, size: int) -> Iterator[None]:
    """Files of the worker cannot grow beyond a size: as on a full disk, a call puts there what fits, the next fails."""
    (worker,) = server.workers()
    soft, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (soft, hard))


def test_a_large_body_is_moved_by_the_kernel_alone(server: Server) -> None:
    """Of 8 MiB, nothing but what gunicorn reads with the head is ever in the worker's memory; each splice moves 64 KiB
    or more on average, and a MiB takes few calls of any kind.
    """
    path = server.tus.create(len(CONTENT))
    with watching(server, SLOWLY) as watch:
        assert send(server, path, CONTENT).status == 204
    assert is_stored(server, path, CONTENT)
    taken, put = spliced(watch)
    assert sum(taken) == sum(put) >= len(CONTENT) - READ_AHEAD
    assert received(watch) <= READ_AHEAD + KIB
    assert written(watch) == len(CONTENT) - sum(put)
    assert sum(taken) / len(taken) >= 64 * KIB
    assert sum(put) / len(put) >= 64 * KIB
    thread = next(call.thread for call in watch.calls("splice"))
    calls = [call.name for call in watch.calls() if call.thread == thread]
    last = len(calls) - calls[::-1].index("splice")
    assert last - calls.index("splice") <= 40 * len(CONTENT) // MIB


def test_a_body_with_a_checksum_is_read_in_large_blocks(server: Server) -> None:
    """Content that must be looked at is not spliced: it is read into one buffer and written from there."""
    path = server.tus.create(len(CONTENT))
    digest = base64.b64encode(hashlib.sha1(CONTENT).digest()).decode()
    with watching(server, "readv:delay_enter=3000") as watch:
        assert send(server, path, CONTENT, headers={"Upload-Checksum": f"sha1 {digest}"}).status == 204
    assert is_stored(server, path, CONTENT)
    assert watch.calls("splice", "pipe2") == []
    assert written(watch) == len(CONTENT)
    reads = [call for call in watch.calls("recvfrom", "readv") if call.result > 0]
    assert sum(call.result for call in reads) >= len(CONTENT)
    assert len(CONTENT) / len(reads) >= 32 * KIB


@pytest.mark.parametrize("size", [64 * KIB - 1, 64 * KIB + READ_AHEAD])
def test_small_bodies_are_read(server: Server, size: int) -> None:
    """With less than 64 KiB to come, a pipe is not worth its price; from there on it is there."""
    path = server.tus.create(size)
    with watching(server, calls="splice,pipe2") as watch:
        assert send(server, path, CONTENT[:size]).status == 204
    assert is_stored(server, path, CONTENT[:size])
    assert (watch.calls("pipe2") != []) == (size > 64 * KIB)


def test_a_pipe_serves_many_requests(server: Server) -> None:
    """One pipe is made for the first body, and used for all that follow one after another."""
    path = server.tus.create(len(CONTENT))
    with watching(server, calls="splice,pipe2") as watch, server.tus.connect() as connection:
        for start in range(0, len(CONTENT), MIB):
            connection.start_patch(path, start, {"Content-Length": MIB})
            connection.send(CONTENT[start : start + MIB])
            assert connection.answer("PATCH").offset == start + MIB
    assert is_stored(server, path, CONTENT)
    assert len(watch.calls("pipe2")) == 1
    assert sum(spliced(watch)[1]) > len(CONTENT) - 8 * READ_AHEAD


@pytest.mark.parametrize("room", [64 * KIB + 1, 3 * MIB + 1, 5 * MIB - 100_001])
def test_after_a_full_disk_the_next_body_gets_its_own_bytes(server: Server, room: int) -> None:
    """The disk fills up in the middle of a splice: 507, the offset says what is there, and the bytes that were left in
    the pipe are in no other upload; the upload goes on when there is room.
    """
    path, other = server.tus.create(len(CONTENT)), server.tus.create(len(OTHER))
    with watching(server, calls="splice,pipe2,close") as watch:
        with no_room_beyond(server, room):
            assert interrupted(server, path) in (507, None)
        assert send(server, other, OTHER[:MIB]).offset == MIB
        assert send(server, other, OTHER[MIB:], MIB).offset == len(OTHER)
    assert is_stored(server, other, OTHER)
    assert [call for call in watch.calls("splice") if "EFBIG" in call.remark]
    assert len(watch.calls("pipe2")) == 2  # the first one is gone
    offset = server.tus.offset(path)
    assert offset <= room
    assert server.stored(path, offset) == CONTENT[:offset]
    server.tus.resume(path, CONTENT)
    assert is_stored(server, path, CONTENT)


@pytest.mark.parametrize("number", [1, 2, 7])
def test_after_a_splice_that_failed_the_next_body_gets_its_own_bytes(server: Server, number: int) -> None:
    """The same when the disk was full before anything of a block got there, at any block."""
    path, other = server.tus.create(len(CONTENT)), server.tus.create(len(OTHER))
    with watching(server, f"splice:error=ENOSPC:when={number}", calls="splice", path=server.part(path)) as watch:
        assert interrupted(server, path) in (507, None)
        assert send(server, other, OTHER).status == 204
    assert [call.is_injected for call in watch.calls("splice")] == [False] * (number - 1) + [True]
    assert is_stored(server, other, OTHER)
    offset = server.tus.offset(path)
    assert server.stored(path, offset) == CONTENT[:offset]
    server.tus.resume(path, CONTENT)
    assert is_stored(server, path, CONTENT)


def interrupted(server: Server, path: str) -> int | None:
    """Send content that cannot all be stored; the status, if it was heard behind what was still being sent."""
    with server.tus.connect() as connection:
        with suppress(ConnectionError):
            connection.start_patch(path, 0, {"Content-Length": len(CONTENT)})
            connection.send(CONTENT)
        answer = connection.answer_or_end("PATCH")
    server.journal.wait_for("end PATCH", id_of(path))
    return None if answer is None else answer.status


@pytest.mark.parametrize("when", ["1+", "3", "2+3"])
def test_a_file_that_takes_no_splice_gets_the_bytes_by_writing(server: Server, when: str) -> None:
    """Some file systems refuse, always or now and then: what is in the pipe is copied to its place."""
    path = server.tus.create(len(CONTENT))
    with watching(server, f"splice:error=EINVAL:when={when}", path=server.part(path)) as watch:
        assert send(server, path, CONTENT).offset == len(CONTENT)
    assert is_stored(server, path, CONTENT)
    assert [call for call in watch.calls("splice") if call.is_injected]
    assert sum(spliced(watch)[1]) + written(watch) == len(CONTENT)


@pytest.mark.parametrize("error", ["EINVAL", "ENOSYS", "EPERM"])
def test_a_socket_that_cannot_be_spliced_is_read(server: Server, error: str) -> None:
    """A sandbox that forbids the call, a kernel without it: no client is taken for gone, the body is read instead."""
    path = server.tus.create(len(CONTENT))
    with watching(server, f"splice:error={error}") as watch:
        assert send(server, path, CONTENT).offset == len(CONTENT)
    assert is_stored(server, path, CONTENT)
    assert len(watch.calls("splice")) == 1
    assert (received(watch) >= len(CONTENT), written(watch)) == (True, len(CONTENT))


def test_without_descriptors_for_a_pipe_the_body_is_read(server: Server) -> None:
    """Too many open files (EMFILE): this body is read; the next one has its pipe."""
    path = server.tus.create(len(CONTENT))
    with watching(server, "pipe2:error=EMFILE") as watch:
        assert send(server, path, CONTENT[: 3 * MIB]).offset == 3 * MIB
    assert [call.is_injected for call in watch.calls("pipe2")] == [True]
    assert watch.calls("splice") == []
    assert received(watch) >= 3 * MIB
    with watching(server, calls="splice") as watch:
        assert send(server, path, CONTENT[3 * MIB :], 3 * MIB).offset == len(CONTENT)
    assert sum(spliced(watch)[1]) >= 5 * MIB - READ_AHEAD
    assert is_stored(server, path, CONTENT)


def pipes_of(server: Server) -> int:
    """How many ends of pipes the worker has open."""
    (worker,) = server.workers()
    return sum(os.readlink(link).startswith("pipe:") for link in Path(f"/proc/{worker}/fd").iterdir() if link.exists())


def test_silent_clients_hold_no_pipe(serve: Serve, quick_disk: Path) -> None:
    """A pipe belongs to who has something in it. A user may only have a few of their size."""
    server = serve("gevent", quick_disk / "home", DURABILITY="none")
    before = pipes_of(server)
    paths = [server.tus.create(2 * len(OTHER)) for _ in range(8)]
    with ExitStack() as stack:
        for path in paths:
            client = stack.enter_context(server.tus.connect())
            client.start_patch(path, 0, {"Content-Length": 2 * len(OTHER)})
            client.send(OTHER)
        deadline = time.monotonic() + 20
        while any(not (part := server.part(path)).exists() or part.stat().st_size < len(OTHER) for path in paths):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert pipes_of(server) <= before + 2


@pytest.mark.parametrize(
    ("durability", "fault", "least", "most"),
    [("data", "", 2, 3), ("data", "sync_file_range:error=ENOSYS", 2, 3), ("none", "", 0, 0)],
)
def test_the_disk_begins_before_the_end(
    serve: Serve, quick_disk: Path, durability: str, fault: str, least: int, most: int
) -> None:
    """While a body comes in, the kernel is told to write what is there: the sync in the end has less to do. Where it
    cannot, nothing is lost but time; and who does not want to wait for the disk does not bother it.
    """
    server = serve("gthread", quick_disk / "home", DURABILITY=durability)
    content = CONTENT * 3
    path = server.tus.create(len(content))
    with watching(server, *([fault] if fault else []), calls="sync_file_range") as watch:
        assert send(server, path, content).status == 204
    assert is_stored(server, path, content)
    assert least <= len(watch.calls("sync_file_range")) <= most
