"""``upload.move_to()`` in a bucket: an object goes to another key, and everything agrees on where it is."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected
from flask_resumable.models.interface import UploadView
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.multipart import StoreTraits
from flask_resumable.storage.s3 import S3Storage
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample

from .conftest import Store
from .refusing_store import Refusal
from .refusing_store import RefusingStore

MIB = 1024 * 1024
CONTENT = random.Random(17).randbytes(12 * MIB + 7)
SMALL = b"0123456789"


class MovedInParts(S3Storage):
    """Larger objects than these are not copied as a whole."""

    traits = StoreTraits(max_copy=5 * MIB)


class Site:
    """An app that does something in ``on_complete``."""

    def __init__(self, home: Path, store: Store, complete: Callable[[Any], object], **wiring: Any) -> None:
        self.store = store
        self.app = Flask("app", instance_path=str(home / "instance"))
        self.app.config["RESUMABLE_DOWNLOADS"] = True
        self.now = datetime.now(UTC)
        self.complete = complete
        self.completed = 0
        site = self

        class Uploads(FlaskResumable):
            def on_complete(self, upload: Any) -> None:
                site.completed += 1
                site.complete(upload)

        wiring.setdefault("storage", MovedInParts(store.bucket, part_size=5 * MIB, **store.options))
        Uploads(self.app, now=lambda: self.now, **wiring)
        self.state = self.app.extensions["resumable"]
        self.tus = Tus(self.app.test_client())

    def send(self, content: bytes, status: int = 204) -> str:
        """Upload a file; its URL."""
        url = self.tus.new(len(content))
        assert self.tus.patch(url, 0, content).status_code == status
        return url

    def is_right(self, url: str, key: str, content: bytes) -> None:
        """The object is there and nowhere else, for everybody who asks; and goes when the upload does."""
        assert self.store.content(key) == content
        with self.tus.get(url, headers={"Range": "bytes=2-4"}) as answer:
            assert answer.data == content[2:5]
        self.now += timedelta(days=9)
        for command in ("verify", "delete_expired", "verify"):
            result = self.app.test_cli_runner().invoke(args=["tus", command])
            assert result.exit_code == 0, result.output
        assert self.store.kept() == {key}
        assert self.location(url) == f"s3://{self.store.bucket}/{key}"
        assert self.tus.request("DELETE", url).status_code == 204
        assert self.store.kept() == set()

    def location(self, url: str) -> str:
        """Where ``flask tus show`` says that it is."""
        shown = self.app.test_cli_runner().invoke(args=["tus", "show", url.rpartition("/")[2]]).output
        found: str = json.loads(shown)["location"]
        return found


@pytest.fixture
def refusing(store: Store) -> Iterator[RefusingStore]:
    """A store that wants parts of one size."""
    made = RefusingStore(store)
    yield made
    made.close()


@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=["whole", "in parts"])
@pytest.mark.parametrize(
    ("target", "key"), [("csv/2026/a.csv", "up/csv/2026/a.csv"), ("/elsewhere/ä b?.csv", "elsewhere/ä b?.csv")]
)
def test_an_object_goes_where_the_app_wants_it(
    tmp_path: Path, store: Store, target: str, key: str, content: bytes
) -> None:
    """Below the prefix, or anywhere in the bucket; it is read there in the hook already."""

    def complete(upload: Any) -> None:
        assert upload.move_to(target) is None
        with upload.open() as stream:
            assert stream.read() == content

    site = Site(tmp_path, store, complete)
    site.is_right(site.send(content), key, content)


@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=["whole", "in parts"])
@pytest.mark.parametrize("target", [None, "csv/a.csv"], ids=["stays", "moves"])
def test_a_job_finds_the_object_before_the_commit(
    tmp_path: Path, store: Store, target: str | None, content: bytes
) -> None:
    """A worker that loads the record while ``on_complete`` runs can read the object, then and after the commit."""
    loaded: list[Any] = []

    def complete(upload: Any) -> None:
        if target is not None:
            upload.move_to(target)
        record = site.state.repository.get(upload.id)  # as another process sees it
        loaded.append(UploadView(record))
        with site.state.storage.open(record) as stream:
            assert stream.read() == content

    site = Site(tmp_path, store, complete)
    site.send(content)
    assert loaded[0].status == "finishing"
    with site.app.app_context(), loaded[0].open() as stream:
        assert stream.read() == content


def test_a_store_that_wants_equal_parts_moves_too(tmp_path: Path, store: Store, refusing: RefusingStore) -> None:
    """What is copied in parts has parts of one size."""
    storage = MovedInParts(store.bucket, **{**store.options, "endpoint_url": refusing.url})
    site = Site(tmp_path, store, lambda upload: upload.move_to("file"), storage=storage)
    site.is_right(site.send(CONTENT), "up/file", CONTENT)
    assert not refusing.refused


def test_what_is_said_of_an_object_moves_with_it(tmp_path: Path, store: Store) -> None:
    """Its type and its metadata are those of the first object."""
    site = Site(tmp_path, store, lambda upload: None)

    def complete(upload: Any) -> None:
        store.client.put_object(
            Bucket=store.bucket,
            Key=f"up/{upload.id}",
            Body=SMALL,
            ContentType="text/csv",
            ContentDisposition="inline",
            Metadata={"of": "the app"},
        )
        upload.move_to("file")

    site.complete = complete
    site.send(SMALL)
    answer = store.client.head_object(Bucket=store.bucket, Key="up/file")
    assert (answer["ContentType"], answer["ContentDisposition"]) == ("text/csv", "inline")
    assert answer["Metadata"]["of"] == "the app"


def test_nothing_of_others_is_overwritten(tmp_path: Path, store: Store) -> None:
    """Unless the app says that it may be; nor is it removed with the upload afterwards."""
    store.client.put_object(Bucket=store.bucket, Key="up/taken", Body=b"mine")

    def evade(upload: Any) -> None:
        with pytest.raises(FileExistsError):
            upload.move_to("taken")
        upload.move_to("free")

    site = Site(tmp_path, store, evade)
    url = site.send(SMALL)
    assert store.objects() == {"up/free", "up/taken"}
    assert store.content("up/taken") == b"mine"
    assert site.tus.request("DELETE", url).status_code == 204
    assert store.objects() == {"up/taken"}
    site.complete = lambda upload: upload.move_to("taken", overwrite=True)
    site.is_right(site.send(SMALL), "up/taken", SMALL)


@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=["whole", "in parts"])
def test_a_hook_that_fails_has_moved_nothing(tmp_path: Path, store: Store, content: bytes) -> None:
    """The object is where it was published, and the hook is called again."""

    def complete(upload: Any) -> None:
        upload.move_to(f"file-{site.completed // 2}")
        if site.completed < 3:
            raise RuntimeError("not yet")

    site = Site(tmp_path, store, complete)
    url = site.send(content, status=500)
    assert store.kept() == {f"up/{url.rpartition('/')[2]}"}
    assert site.tus.head(url).status_code == 423
    assert site.tus.head(url).status_code == 200
    site.is_right(url, "up/file-1", content)


def test_a_hook_that_refuses_leaves_nothing(tmp_path: Path, store: Store) -> None:
    """Wherever it had moved the object to."""

    def complete(upload: Any) -> None:
        upload.move_to("file")
        raise UploadRejected(415, "No.")

    Site(tmp_path, store, complete).send(SMALL, status=415)
    assert store.kept() == set()


@pytest.mark.parametrize("operation", ["copy whole", "copy", "begin", "complete", "put", "delete", "head", "get"])
@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=["whole", "in parts"])
def test_a_move_that_is_cut_off_anywhere_is_repeated(
    tmp_path: Path, store: Store, refusing: RefusingStore, operation: str, content: bytes
) -> None:
    """The store stops answering in the middle of the hook, with one kind of request, for as long as that takes; another
    request finds all that it needs. The object ends at its new key, and there alone.
    """
    storage = MovedInParts(store.bucket, part_size=5 * MIB, **{**store.options, "endpoint_url": refusing.url})

    def complete(upload: Any) -> None:
        if site.completed == 1:
            refusing.refusals[operation] = Refusal(501, "NotImplemented")
        upload.move_to("file")

    site = Site(tmp_path, store, complete, storage=storage)
    url = site.tus.new(len(content))
    site.tus.patch(url, 0, content)
    refusing.refusals.clear()
    assert site.tus.head(url).status_code == 200
    assert site.completed in (1, 2)
    site.is_right(url, "up/file", content)


@pytest.mark.parametrize("target", ["", "/", "a//b", "../a", "a/./b", "a/", ".partial/a", "/up/.partial/a", "x" * 1030])
def test_what_is_no_key_is_refused(tmp_path: Path, store: Store, target: str) -> None:
    """Stores take keys that HTTP clients change on the way, and unfinished uploads have theirs."""

    def complete(upload: Any) -> None:
        with pytest.raises(ValueError):
            upload.move_to(target)

    site = Site(tmp_path, store, complete)
    url = site.send(SMALL)
    assert store.kept() == {f"up/{url.rpartition('/')[2]}"}


def test_moving_back_is_no_move(tmp_path: Path, store: Store) -> None:
    """The last place counts, and may be the one that it came from."""

    def complete(upload: Any) -> None:
        upload.move_to("a")
        upload.move_to("b")
        if site.completed == 2:
            upload.move_to(upload.id)

    site = Site(tmp_path, store, complete)
    site.is_right(site.send(SMALL), "up/b", SMALL)
    url = site.send(SMALL)
    site.is_right(url, f"up/{url.rpartition('/')[2]}", SMALL)


def test_each_of_several_storages_moves_its_uploads(tmp_path: Path, store: Store) -> None:
    """flow.js, in folders of tenants, to a bucket and to a disk."""

    class Uploads(FlaskResumable):
        def choose_storage(self, upload: Any) -> str | None:
            return "disk" if upload.filename == "disk.csv" else None

        def choose_folder(self, upload: Any) -> str | None:
            return "tenant-7"

        def on_complete(self, upload: Any) -> None:
            upload.move_to(f"moved/{upload.filename}")

    app = Flask("app", instance_path=str(tmp_path / "instance"))
    bucket = S3Storage(store.bucket, **store.options)
    Uploads(app, storage={"bucket": bucket, "disk": LocalStorage(tmp_path / "disk")})
    flow = Flow(app.test_client())
    for name in ("bucket.csv", "disk.csv"):
        flow.send(Sample(bytes(35), name=name), [3, 1, 2])
    assert store.kept() == {"up/moved/bucket.csv"}
    assert [path for path in (tmp_path / "disk").rglob("*") if path.is_file()] == [tmp_path / "disk/moved/disk.csv"]
    assert app.test_cli_runner().invoke(args=["tus", "verify"]).exit_code == 0
