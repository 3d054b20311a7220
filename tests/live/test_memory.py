"""What a very large body costs a worker: nothing that grows with it, whichever way it takes."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Serve
from .raw import Headers
from .servers import peak_memory
from .servers import Server

pytestmark = pytest.mark.live

MIB = 1024 * 1024
BLOCK = random.Random(512).randbytes(MIB)
LIMIT = 2 * MIB  # of growth
LARGE = 512  # MiB
SMALL = 8  # MiB; after that, the worker has what every body needs


@pytest.fixture
def roomy_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder for a large file, removed at once after the test; in memory, if there is room."""
    memory = Path("/dev/shm")
    free = os.statvfs(memory).f_bavail * os.statvfs(memory).f_frsize if os.access(memory, os.W_OK) else 0
    with tempfile.TemporaryDirectory(dir=memory if free > 4 * LARGE * MIB else tmp_path) as folder:
        yield Path(folder)


def send(server: Server, blocks: int, headers: Headers) -> None:
    """One PATCH of some MiB to an upload that is larger still; one block of it is read back."""
    upload = server.tus.create((blocks + 1) * MIB)
    with server.tus.connect() as connection:
        connection.start_patch(upload, 0, {"Content-Length": blocks * MIB, **headers})
        for _ in range(blocks):
            connection.send(BLOCK)
        assert connection.answer("PATCH").offset == blocks * MIB
    with server.part(upload).open("rb") as stream:
        stream.seek((blocks - 1) * MIB)
        assert stream.read() == BLOCK


def checksum(blocks: int) -> Headers:
    """What guards so many blocks."""
    digest = hashlib.sha1()
    for _ in range(blocks):
        digest.update(BLOCK)
    return {"Upload-Checksum": "sha1 " + base64.b64encode(digest.digest()).decode()}


@pytest.mark.parametrize("is_guarded", [False, True], ids=["spliced", "read"])
@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_half_a_gigabyte_costs_no_memory(serve: Serve, roomy_disk: Path, kind: str, is_guarded: bool) -> None:
    """A PATCH of 512 MiB takes less than 2 MiB more than one of 8 MiB has taken already."""
    server = serve(kind, roomy_disk / "home", DURABILITY="none")
    (worker,) = server.workers()
    for _ in range(10):  # each of gthread's threads has a stack, and memory of its own
        send(server, SMALL, checksum(SMALL) if is_guarded else {})
    before = peak_memory(worker)
    send(server, LARGE, checksum(LARGE) if is_guarded else {})
    assert peak_memory(worker) - before < LIMIT
