"""What a worker costs and where it ends: memory, gunicorn's timeout, a full disk."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.prerequisites import require_program

from .conftest import Serve
from .raw import Headers
from .servers import id_of
from .servers import peak_memory
from .servers import STREAMING

pytestmark = pytest.mark.live

MIB = 1024 * 1024


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("kind", STREAMING)
def test_memory_does_not_grow_with_the_body(serve: Serve, kind: str, framing: str) -> None:
    """64 MiB in one PATCH raise the worker's peak memory by less than 16 MiB."""
    server = serve(kind)
    block = random.Random(64).randbytes(MIB)
    path = server.tus.create(64 * MIB + len(block))
    assert server.tus.patch(path, 0, block).status == 204
    (worker,) = server.workers()
    before = peak_memory(worker)
    is_chunked = framing == "chunked"
    with server.tus.connect() as connection:
        announced = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": 64 * MIB}
        connection.start_patch(path, len(block), announced)
        for _ in range(64):
            connection.send(b"%x\r\n%b\r\n" % (len(block), block) if is_chunked else block)
        if is_chunked:
            connection.send(b"0\r\n\r\n")
        assert connection.answer("PATCH").status == 204
    assert peak_memory(worker) - before < 16 * MIB
    assert len(server.receipts(path)) == 1
    server.finished(path).unlink()  # pytest keeps the folders of its last runs


def test_a_sync_worker_that_is_timed_out_keeps_what_came(serve: Serve) -> None:
    """gunicorn's sync worker ends every request after its timeout; a slow upload keeps its bytes and goes on."""
    server = serve("sync", options=("--timeout", "3"))
    content = random.Random(3).randbytes(600_000)
    path = server.tus.create(len(content))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(content)})
        sent = 0
        while connection.is_silent() and sent < len(content):  # would take six seconds
            connection.send(content[sent : sent + 10_000])
            sent += 10_000
            connection.pause(0.1)
        assert sent < len(content), "the worker was not timed out"
    server.journal.wait_for("end PATCH", id_of(path))
    offset = server.tus.offset(path)
    assert sent - 40_000 <= offset <= sent  # what was on its way when the worker was stopped may be lost
    assert server.stored(path, offset) == content[:offset]
    server.tus.resume(path, content)
    assert server.finished(path).read_bytes() == content
    assert len(server.receipts(path)) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = (require_program(name, "apt-get install mount") for name in ("mount", "umount"))
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=1M", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"A small disk can be mounted by root: {done.stderr.strip()}")
    yield folder
    subprocess.run([umount, "-l", folder], check=True)


def enlarge(folder: Path) -> None:
    """Make room."""
    mount = require_program("mount", "apt-get install mount")
    subprocess.run([mount, "-o", "remount,size=16M", folder], check=True)


@pytest.mark.parametrize("kind", STREAMING)
def test_a_full_disk_keeps_what_fitted(serve: Serve, small_disk: Path, kind: str) -> None:
    """507 when the disk is full; the offset is honest, and the upload goes on as soon as there is room."""
    server = serve(kind, UPLOAD_DIR=str(small_disk / "uploads"), MIN_FREE_SPACE=None)
    content = random.Random(35).randbytes(3 * MIB)
    path = server.tus.create(len(content))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(content)}, body=content[: 2 * MIB])
        assert connection.answer("PATCH").status == 507
    offset = server.tus.offset(path)
    part = small_disk / "uploads" / ".partial" / f"{id_of(path)}.part"
    assert 0 < offset <= MIB
    assert part.read_bytes()[:offset] == content[:offset]
    assert server.tus.patch(path, offset, content[offset:]).status == 507
    assert server.tus.offset(path) >= offset
    enlarge(small_disk)
    server.tus.resume(path, content)
    assert (small_disk / "uploads" / id_of(path)).read_bytes() == content
    assert len(server.receipts(path)) == 1


def test_what_does_not_fit_is_refused_before_it_comes(serve: Serve, small_disk: Path) -> None:
    """A creation and a PATCH get a 507, with a reason and without a single byte being received."""
    server = serve("gthread", UPLOAD_DIR=str(small_disk / "uploads"), MIN_FREE_SPACE=MIB // 8)
    too_much = server.tus.request("POST", "/files/", {"Upload-Length": MIB})
    assert (too_much.status, too_much.body) == (
        507,
        f"The server has no space for {MIB} more bytes; try again later.\n".encode(),
    )
    content = random.Random(38).randbytes(MIB // 2)
    first, second = (server.tus.create(len(content)) for _ in range(2))  # each of them fits, but not both
    assert server.tus.patch(first, 0, content).status == 204
    with server.tus.connect() as connection:
        connection.start_patch(second, 0, {"Content-Length": len(content)})
        assert connection.answer("PATCH").status == 507
    assert server.tus.offset(second) == 0
    assert server.tus.patch(second, 0, content[:100_000]).status == 204
    chunk = {"flowChunkNumber": 1, "flowChunkSize": MIB, "flowTotalSize": MIB // 2, "flowIdentifier": "file"}
    body: Headers = {"Content-Length": MIB // 2, "Content-Type": "x/y"}
    names = {"flowFilename": "file", "flowTotalChunks": 1}
    with server.tus.connect() as connection:
        connection.start("POST", f"/flow/?{urlencode(chunk | names)}", body, body=content)
        assert connection.answer("POST").status == 507
    (small_disk / "uploads" / id_of(first)).unlink()
    server.tus.resume(second, content)
    assert (small_disk / "uploads" / id_of(second)).read_bytes() == content


def test_a_file_that_may_not_grow_keeps_what_fitted(serve: Serve) -> None:
    """The same for a limit on the size of files, which needs no disk of its own."""
    server = serve("gthread")
    content = random.Random(37).randbytes(MIB)
    path = server.tus.create(len(content))
    (worker,) = server.workers()
    _, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE, (MIB // 2, resource.RLIM_INFINITY))
    answer = server.tus.patch(path, 0, content)
    assert answer.status == 507
    offset = server.tus.offset(path)
    assert 0 < offset <= MIB // 2
    assert server.stored(path, offset) == content[:offset]
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))
    server.tus.resume(path, content)
    assert server.finished(path).read_bytes() == content
    assert len(server.receipts(path)) == 1


def test_a_full_disk_under_the_database_too_loses_nothing(serve: Serve, small_disk: Path) -> None:
    """With no room for records either, requests are refused with 503 or 507 and nothing is damaged."""
    server = serve("gthread", environ={"LIVE_HOME": str(small_disk)})
    server.home = small_disk
    content = random.Random(36).randbytes(MIB // 2)
    path = server.tus.create(len(content))
    assert server.tus.patch(path, 0, content[:1000]).status == 204
    ballast = small_disk / "ballast"
    fill(ballast)
    assert server.tus.patch(path, 1000, content[1000:]).status in (503, 507)
    assert server.tus.request("POST", "/files/", {"Upload-Length": 1}).status in (503, 507)
    ballast.unlink()
    offset = server.tus.offset(path)
    assert offset >= 1000
    assert server.stored(path, offset) == content[:offset]
    server.tus.resume(path, content)
    assert server.finished(path).read_bytes() == content
    assert len(server.receipts(path)) == 1


def fill(file: Path) -> None:
    """Use up every byte of a disk."""
    with file.open("wb", buffering=0) as stream:
        size = MIB
        while size:
            try:
                stream.write(os.urandom(size))
            except OSError:
                size //= 2
