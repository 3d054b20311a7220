"""Uploads in object stores that are not S3: what any store must do, and what is done where one can do less."""

from __future__ import annotations

import base64
import hashlib
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable.core.concat import Concat
from flask_resumable.errors import ConfigurationError
from flask_resumable.errors import Unavailable
from flask_resumable.interfaces import Storage
from flask_resumable.storage.multipart import MultipartStorage
from flask_resumable.storage.multipart import ObjectInfo
from flask_resumable.storage.multipart import ObjectStore
from flask_resumable.storage.multipart import StoreTraits
from flask_resumable.testing import ObjectStoreContract
from flask_resumable.testing import StorageContract
from flask_resumable.testing.storage import read
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import final
from tests.conformance.tus_client import PARTIAL
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample
from tests.ietf.client import Ietf

from .memory_store import MemoryStore
from .s3.record import Record

KIB = 1024
LIKE_S3 = StoreTraits(min_part=KIB, min_part_copy=KIB, max_copy=8 * KIB)
LEAST = StoreTraits(copies_parts=False, has_upload_ids=False, signs_links=False, min_part=1, max_copy=8 * KIB)
STORES: dict[str, Callable[[], MemoryStore]] = {
    "like S3": lambda: MemoryStore(LIKE_S3),
    "like R2": lambda: MemoryStore(LIKE_S3, wants_equal=True, says=True),
    "that says nothing of equal parts": lambda: MemoryStore(LIKE_S3, wants_equal=True),
    "that copies no parts": lambda: MemoryStore(replace(LIKE_S3, copies_parts=False)),
    "that can do least": lambda: MemoryStore(LEAST),
    "that replaces what is there": lambda: MemoryStore(replace(LIKE_S3, puts_only_new=False)),
}


class TestMemoryStore(ObjectStoreContract):
    """What the others here rely on."""

    @pytest.fixture(params=[LIKE_S3, LEAST], ids=["like S3", "that can do least"])
    def store(self, request: pytest.FixtureRequest) -> ObjectStore:
        return MemoryStore(request.param)


class TestMultipartStorage(StorageContract):
    """Contents that are less than a part, a few, or many; chunks that are parts, or too small to be."""

    @pytest.fixture(params=STORES)
    def store(self, request: pytest.FixtureRequest) -> MemoryStore:
        return STORES[request.param]()

    @pytest.fixture
    def storage(self, store: MemoryStore, tmp_path: Path) -> Storage:
        return MultipartStorage(store, prefix="up/", part_size=KIB, memory=9 * KIB, spool_directory=tmp_path)

    @pytest.fixture
    def kept(self, store: MemoryStore) -> Callable[[], set[str]]:
        return store.kept

    @pytest.fixture(params=[1, 300, 2500])
    def times(self, request: pytest.FixtureRequest) -> int:
        return int(request.param)


# --- what differs between stores ---

CONTENT = random.Random(3).randbytes(20 * KIB + 300)


def _storage(store: ObjectStore, **options: Any) -> MultipartStorage:
    return MultipartStorage(store, **{"prefix": "up/", "part_size": KIB, **options})


def _finished(storage: MultipartStorage, number: int, content: bytes, **changes: Any) -> Record:
    record = Record(len(content), number, **changes)
    record.put(storage, content)
    record.finish(storage)
    return record


@pytest.mark.parametrize("copies", [True, False], ids=["copies parts", "copies none"])
def test_uploads_are_put_together_within_the_store_if_it_can(copies: bool) -> None:
    """Nothing comes through this process then; else it all does, but never more than a part at a time."""
    store = MemoryStore(replace(LIKE_S3, copies_parts=copies))
    storage = _storage(store)
    pieces = [CONTENT[: 9 * KIB + 5], CONTENT[9 * KIB + 5 :]]
    parts = [_finished(storage, n, piece, concat=Concat("partial")) for n, piece in enumerate(pieces, 1)]
    store.sent.clear()
    whole = Record(len(CONTENT), 3)
    whole.assemble(storage, parts)
    assert read(storage, whole.finish(storage)) == CONTENT
    assert store.sent == [] if copies else sorted(store.sent) == [300, *[KIB] * 20]


@pytest.mark.parametrize("name", STORES)
def test_an_object_that_is_too_large_to_be_copied_is_moved_in_parts(name: str) -> None:
    """What is known of the object goes with it."""
    store = STORES[name]()
    storage = _storage(store)
    done = _finished(storage, 1, CONTENT).upload
    store._objects[f"up/{done.id}"].info = ObjectInfo(len(CONTENT), {"colour": "red"}, {"type": "a/b"})
    moved = replace(done, storage=storage.move(done, "csv/7.csv", overwrite=False))
    storage.settle_moves(moved)
    assert store.kept() == {"up/csv/7.csv"}
    assert read(storage, moved) == CONTENT
    found = store.head("up/csv/7.csv")
    assert found is not None
    assert (found.metadata["colour"], found.properties) == ("red", {"type": "a/b"})


def test_a_store_that_says_nothing_of_equal_parts_is_found_out_once() -> None:
    """It refuses the first upload that is put together of unequal ones, and is not asked that again."""
    store = MemoryStore(LIKE_S3, wants_equal=True)
    storage = _storage(store)
    for number in (10, 20):
        parts = [
            _finished(storage, number + at, CONTENT[:size], concat=Concat("partial"))
            for at, size in enumerate((3000, 2000, 2500))
        ]
        whole = Record(7500, number + 9)
        whole.assemble(storage, parts)
        assert read(storage, whole.finish(storage)) == CONTENT[:3000] + CONTENT[:2000] + CONTENT[:2500]
        assert store.refused == 1


@pytest.mark.parametrize("name", STORES)
def test_a_part_that_lands_late_is_not_published(name: str) -> None:
    """Whatever a store knows of its multipart uploads, a part of a request that was overtaken gets into nothing."""
    store = STORES[name]()
    storage = _storage(store)
    other = random.Random(4).randbytes(len(CONTENT))
    record = Record(len(CONTENT))
    record.put(storage, CONTENT[: 3 * KIB])
    with record.request(storage) as old:
        old.send(other[3 * KIB : 5 * KIB])  # its note says that it may go on for some parts more
        start = record.upload.offset
        record.put(storage, CONTENT[start : 8 * KIB])
        multipart = record.upload.storage["multipart"]
        for number in (4, 5, 6, 7):
            store.put_part(f"up/{record.upload.id}", multipart, number, other[:KIB])
    record.put(storage, CONTENT[record.upload.offset :])
    done = record.finish(storage)
    assert (
        read(storage, done)
        == CONTENT[:start].replace(CONTENT[3 * KIB : start], other[3 * KIB : start]) + CONTENT[start:]
    )
    assert store.kept() == {f"up/{done.id}"}


def test_an_upload_goes_on_whose_part_was_full_when_the_store_failed() -> None:
    """The beginning of the part is in the store, and cannot be read right now; the rest is kept beside it."""
    store, record = MemoryStore(LIKE_S3), Record(len(CONTENT))
    storage = _storage(store)
    record.put(storage, CONTENT[: KIB // 2])
    with record.request(storage) as request:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Unavailable):
            patch.setattr(store, "get", _is_away)
            request.send(CONTENT[KIB // 2 : KIB])
        request.fail()
    assert record.upload.offset == KIB
    record.put(storage, CONTENT[KIB:])
    record.finish(storage)
    assert read(storage, record.upload) == CONTENT


def _is_away(*arguments: Any) -> bytes:
    raise Unavailable


def test_links_are_offered_only_where_they_can_be_signed() -> None:
    """The app then gives the files out itself."""
    assert _storage(MemoryStore(LIKE_S3)).capabilities.links is not None
    assert _storage(MemoryStore(LEAST)).capabilities.links is None


@pytest.mark.parametrize(
    ("changes", "message"), [({"part_size": 1}, "part_size must be from 1024 "), ({"prefix": "/x"}, "prefix")]
)
def test_wrong_arguments_are_told_by_name(changes: dict[str, Any], message: str) -> None:
    """With what the store takes."""
    with pytest.raises(ConfigurationError, match=message):
        _storage(MemoryStore(LIKE_S3), **changes)


@pytest.mark.parametrize("name", STORES)
def test_an_app_works_with_any_store(app: Flask, name: str) -> None:
    """tus, concatenation and flow.js, downloads, verification and cleaning up."""
    store = STORES[name]()
    app.config["RESUMABLE_DOWNLOADS"] = True
    FlaskResumable(app, storage=_storage(store))
    tus, flow, run = Tus(app.test_client()), Flow(app.test_client()), app.test_cli_runner().invoke
    parts = [tus.upload(CONTENT[:5000], PARTIAL), tus.upload(CONTENT[5000:], PARTIAL)]
    urls = [tus.upload(CONTENT), tus.new(headers=final(*parts))]
    sample = Sample(CONTENT, chunk=4 * KIB)
    answer = flow.send(sample).json
    assert answer is not None
    urls.append(f"/files/{answer['id']}")
    for url in urls:
        assert tus.client.get(url).data == CONTENT
    lost = tus.new(5000)
    tus.patch(lost, 0, CONTENT[:3000])
    result = run(args=["tus", "verify"])
    assert (result.exit_code, result.output.split(",")[0]) == (0, "Uploads verified: 6")
    assert "memory:up/" in run(args=["tus", "show", lost.rpartition("/")[2]]).output
    for url in (*urls, *parts, lost):
        assert tus.delete(url).status_code == 204
    assert store.kept() == set()


# --- without boto3 ---

WITHOUT_BOTO3 = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(("boto3", "botocore", "flask_resumable.storage.s3")))
import flask_resumable.storage.multipart as package
for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
from flask_resumable.testing.samples import an_upload
from flask_resumable.testing.storage import finish, put, read
from tests.memory_store import MemoryStore
storage = package.MultipartStorage(MemoryStore())
assert read(storage, finish(storage, put(storage, an_upload(), b"0123456789"))) == b"0123456789"
print("done")
"""


def test_no_store_needs_boto3() -> None:
    """Neither the interface nor what works over it imports the client of another store."""
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run([sys.executable, "-c", WITHOUT_BOTO3], cwd=root, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("done\n", "")


# --- memory ---

_MANY_BUFFERS = """
import os, threading
from flask_resumable.storage.multipart.buffer import Buffer, Memory

def pages():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

def fill():
    for _ in range(4):
        buffer = Buffer(8 << 20, memory, None)
        for _ in range(128):
            buffer.write(block)
        together.wait()
        buffer.close()

memory, together, block = Memory(1 << 30), threading.Barrier(16), bytes(1 << 16)
before = pages()
threads = [threading.Thread(target=fill) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print((pages() - before) * os.sysconf("SC_PAGE_SIZE") >> 20)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say how much memory is used")
def test_the_memory_of_buffers_goes_back_to_the_system() -> None:
    """128 MiB that sixteen threads have used. Allocated as usual, most of it would stay with the process."""
    ended = subprocess.run([sys.executable, "-c", _MANY_BUFFERS], stdout=subprocess.PIPE, text=True, check=True)
    assert int(ended.stdout) < 32


# --- the guide ---


def test_the_guide_names_all_that_a_store_does_and_may_differ_in() -> None:
    """A row for each method and each trait, with its parameters and its default."""
    guide = (Path(__file__).resolve().parents[1] / "docs" / "object-stores.md").read_text()

    def rows(heading: str) -> list[list[str]]:
        table = guide.partition(heading)[2].partition("\n\n")[0]
        return [[cell.strip(" `") for cell in line.split("|")[1:3]] for line in table.splitlines()[2:]]

    methods = {call.partition("(")[0] for call, _ in rows("| method | does | raises |")}
    known = {name for name in vars(ObjectStore) if not name.startswith("_")}
    assert methods == known - {"traits", "equal_parts", "size"}
    values = {"5 MiB": 5 * KIB**2, "5 GiB": 5 * KIB**3, "True": True}
    traits = {name: values[default] for name, default in rows("| trait | default | meaning |")}
    assert traits == asdict(StoreTraits())


@pytest.mark.parametrize("name", STORES)
def test_the_ietf_draft_works_with_any_store(app: Flask, name: str) -> None:
    """Cut bodies, digests, ends that come alone, and uploads that are void: nothing is left of them in the store."""
    store = STORES[name]()
    FlaskResumable(app, storage=_storage(store))
    client = Ietf(app.test_client(), 10)
    right, wrong = (
        f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:" for content in (CONTENT, b"other")
    )
    url = client.new(None, headers={"Repr-Digest": right})
    assert client.append(url, 0, Body(CONTENT[:7000]), announced=8000).status_code == 503
    offset = client.offset(url)
    assert client.append(url, offset, CONTENT[offset:], headers={"Content-Digest": wrong}).status_code == 400
    offset = client.offset(url)
    assert not client.is_complete(client.append(url, offset, CONTENT[offset:]))
    assert client.is_complete(client.append(url, len(CONTENT), complete=True))
    assert client.create(CONTENT, complete=True, headers={"Repr-Digest": wrong}).status_code == 400
    void = client.new(5000, CONTENT[:3000])
    assert client.append(void, client.offset(void), Body(CONTENT), chunked=True).status_code == 400
    assert client.head(void).status_code == 404
    assert client.delete(url).status_code == 204
    assert store.kept() == set()
