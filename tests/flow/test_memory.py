"""What a large chunk costs a worker: nothing that grows with it."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from tests.live.conftest import Serve as ServeLive
from tests.live.servers import peak_memory
from tests.live.servers import Server

from .client import BOUNDARY
from .client import FORM
from .client import form
from .client import Part
from .client import Sample
from .socket_client import address
from .socket_client import json_of
from .socket_client import query

pytestmark = pytest.mark.live

MIB = 1024 * 1024
SIZE = 64 * MIB
LIMIT = 16 * MIB  # of growth
BLOCK = random.Random(1).randbytes(MIB)


class Large(Sample):
    """A file in one chunk, of blocks that are all the same."""

    @property
    def size(self) -> int:
        return SIZE

    @property
    def count(self) -> int:
        return 1

    def piece(self, number: int) -> bytes:
        return b""


def send(server: Server, file: Sample, blocks: int, way: str) -> str:
    """One chunk of some MiB; the id of its upload."""
    size = blocks * MIB
    begin, end = b"", b""
    fields = {"Content-Type": "application/octet-stream"}
    url = address(file, 1)
    if way == "form":
        texts = [Part(key, value.encode()) for key, value in query(file, 1).items()]
        begin, _, end = form([*texts, Part("file", b"[the file]", "blob")]).partition(b"[the file]")
        fields, url = {"Content-Type": FORM}, "/flow/"
    with server.tus.connect() as connection:
        connection.start("POST", url, {**fields, "Content-Length": len(begin) + size + len(end)}, body=begin)
        for _ in range(blocks):
            connection.send(BLOCK)
        connection.send(end)
        return str(json_of(connection.answer("POST"))["id"])


@pytest.mark.parametrize("way", ["octet", "form"])
@pytest.mark.parametrize("mode", ["in place", "chunks folder"])
def test_a_single_chunk_of_64_mib_costs_no_memory(serve_live: ServeLive, quick_disk: Path, way: str, mode: str) -> None:
    """Less than 16 MiB more than the worker needs for a small one."""
    assert BOUNDARY.encode() not in BLOCK
    folder = {"TEMP_DIR": str(quick_disk / "chunks")} if mode == "chunks folder" else {}
    server = serve_live("gthread", quick_disk / "home", DURABILITY="none", **folder)
    send(server, Sample(BLOCK, 2 * MIB, "small.bin"), 1, way)
    (worker,) = server.workers()
    before = peak_memory(worker)
    upload_id = send(server, Large(b"", 40 * MIB, "large.bin"), SIZE // MIB, way)
    assert peak_memory(worker) - before < LIMIT
    hasher = hashlib.sha256()
    for _ in range(SIZE // MIB):
        hasher.update(BLOCK)
    assert server.receipts(upload_id) == [hasher.hexdigest()]
