"""``upload.move_to()``: finished files go where the app wants them, and everything agrees on where they are."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected
from flask_resumable.interfaces import RepositoryCapabilities
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.models.interface import UploadView
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.signals import on_complete
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.local.chunk_folder import ChunkFolder
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample
from tests.memory_storage import MemoryStorage

CONTENT = b"0123456789"
Complete = Callable[[Any], object]


class Site:
    """An app that does something in ``on_complete``, and what an operator sees of it."""

    def __init__(
        self, home: Path, complete: Complete, *, kind: str = "embedded", flow: bool = True, **wiring: Any
    ) -> None:
        self.app = Flask("app", instance_path=str(home / "instance"))
        self.app.config["FLOW_ENABLED"] = flow
        self.app.config["RESUMABLE_DOWNLOADS"] = True
        self.now = datetime.now(UTC)
        self.complete = complete
        self.completed: list[str] = []
        site = self

        class Uploads(FlaskResumable):
            def on_complete(self, upload: Any) -> None:
                site.completed.append(upload.id)
                site.complete(upload)

        if kind == "sqlalchemy":
            self.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{home / 'app.sqlite'}"
            wiring |= {"model": SQLAlchemyModel, "db": SQLAlchemy(self.app)}
        elif kind == "memory":
            repository = MemoryRepository()
            repository.capabilities = (
                RepositoryCapabilities()
            )  # the cleaner runs in the same process, so it sees all records
            wiring |= {"repository": repository}
        Uploads(self.app, now=lambda: self.now, **wiring)
        self.state = self.app.extensions["resumable"]
        self.tus = Tus(self.app.test_client())
        self.folder = Path(self.app.instance_path, "uploads")

    def send(self, content: bytes = CONTENT, status: int = 204) -> str:
        """Upload a file; its URL."""
        url = self.tus.new(len(content), {"Upload-Metadata": metadata(filename="a.txt")})
        assert self.tus.patch(url, 0, content).status_code == status
        return url

    def files(self) -> dict[str, bytes]:
        """All files of the upload folder, fences included."""
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in _files(self.folder)}

    def command(self, name: str) -> str:
        """Run a command of the operator's, to its successful end."""
        result = self.app.test_cli_runner().invoke(args=["tus", name])
        assert result.exit_code == 0, result.output
        return result.output

    def is_right(self, url: str, path: Path, content: bytes = CONTENT, *, is_alone: bool = True) -> None:
        """The file is at its place and nowhere else, for everybody who asks; and goes when the upload does.

        :param is_alone: It is the only upload.
        """
        assert path.read_bytes() == content
        assert self.tus.get(url).data == content
        assert self.tus.get(url, headers={"Range": "bytes=2-4"}).data == content[2:5]
        self.command("verify")
        self.now += timedelta(days=9)
        self.command("delete_expired")
        assert not is_alone or [file for file in _files(self.folder) if file != path] == []
        assert self.tus.request("DELETE", url).status_code == 204
        assert not path.exists()
        assert not is_alone or self.files() == {}


def _move(target: Path, overwrite: bool, upload: Any) -> None:
    upload.move_to(target, overwrite=overwrite)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(params=["embedded", "sqlalchemy", "memory"])
def kind(request: pytest.FixtureRequest) -> str:
    """Where the state is."""
    name: str = request.param
    return name


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder in another file system than the uploads."""
    here = os.stat(tempfile.gettempdir()).st_dev
    writable = [place for place in ("/dev/shm", "/var/tmp") if os.access(place, os.W_OK)]
    others = [place for place in writable if os.stat(place).st_dev != here]
    if not others:
        pytest.skip("There is only one file system.")
    with tempfile.TemporaryDirectory(dir=others[0]) as folder:
        yield Path(folder)


def test_a_file_goes_where_the_app_wants_it(tmp_path: Path, kind: str) -> None:
    """In the hook, and ever after, it is read at its new place; observers find it there, too."""
    told: list[Any] = []

    def complete(upload: Any) -> None:
        before = upload.path
        told.append(upload.move_to(f"csv/2026/{upload.id}.csv"))
        assert upload.path == told[-1] and before != told[-1]
        with upload.open() as stream:
            assert stream.read() == CONTENT
        assert upload.md5 == hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()

    site = Site(tmp_path, complete, kind=kind)

    def observe(sender: Any, upload: Any) -> None:
        told.append(upload.path)

    with on_complete.connected_to(observe):
        url = site.send()
    upload_id = url.rpartition("/")[2]
    path = site.folder / f"csv/2026/{upload_id}.csv"
    assert told == [path, path]
    assert site.files() == {f"csv/2026/{upload_id}.csv": CONTENT}
    site.is_right(url, path)


def test_a_file_may_go_anywhere(tmp_path: Path, kind: str) -> None:
    """An absolute path leads out of the upload folder; folders are made."""
    path = tmp_path / "data" / "of the app" / "file.bin"
    site = Site(tmp_path, lambda upload: upload.move_to(path), kind=kind)
    site.is_right(site.send(), path)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_may_go_to_another_file_system(tmp_path: Path, kind: str, elsewhere: Path, overwrite: bool) -> None:
    """It is copied there, under another name until it is whole."""
    path = elsewhere / "new" / "file.bin"
    site = Site(tmp_path, lambda upload: upload.move_to(path, overwrite=overwrite), kind=kind)
    content = os.urandom(3_000_000)
    url = site.send(content)
    assert site.files() == {}
    assert _files(elsewhere) == [path]
    site.is_right(url, path, content)


@pytest.mark.parametrize("is_far", [False, True])
def test_nothing_of_others_is_overwritten(tmp_path: Path, elsewhere: Path, is_far: bool) -> None:
    """The hook fails if something is there; it may choose another name, or say that it may go."""
    taken = (elsewhere if is_far else tmp_path) / "taken"
    taken.write_bytes(b"of somebody else")
    site = Site(tmp_path, lambda upload: upload.move_to(taken))
    url = site.send(status=500)
    assert taken.read_bytes() == b"of somebody else"
    assert [*site.files().values()] == [CONTENT]

    def evade(upload: Any) -> None:
        with pytest.raises(FileExistsError):
            upload.move_to(taken)
        upload.move_to(taken.with_name("free"))

    site.complete = evade
    assert site.tus.head(url).status_code == 200
    site.is_right(url, taken.with_name("free"))
    site.complete = lambda upload: upload.move_to(taken, overwrite=True)
    site.is_right(site.send(), taken)
    folder = taken.with_name("folder")
    folder.mkdir()
    for overwrite in (False, True):
        site.complete = partial(_move, folder, overwrite)
        site.send(status=500)
    assert _files(folder.parent) == [] if is_far else [*folder.iterdir()] == []


@pytest.mark.parametrize("is_far", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_hook_that_fails_has_moved_nothing(
    tmp_path: Path, kind: str, elsewhere: Path, is_far: bool, overwrite: bool
) -> None:
    """The file is where it was published, the hook is called again, and may move it to the same place or to another."""
    folder = elsewhere if is_far else tmp_path / "data"

    def complete(upload: Any) -> None:
        upload.move_to(folder / f"{len(site.completed) // 2}", overwrite=overwrite)
        if len(site.completed) < 4:
            raise RuntimeError("not yet")

    site = Site(tmp_path, complete, kind=kind)
    url = site.send(status=500)
    for _ in range(2):
        assert _files(folder) == []
        assert site.files() == {url.rpartition("/")[2]: CONTENT}
        assert site.tus.head(url).status_code == 423
    assert site.tus.head(url).headers["Upload-Offset"] == "10"
    assert len(site.completed) == 4
    assert _files(folder) == [folder / "2"]
    site.is_right(url, folder / "2")


def test_a_hook_that_refuses_leaves_nothing(tmp_path: Path, kind: str) -> None:
    """Wherever it had moved the file to."""

    def complete(upload: Any) -> None:
        upload.move_to(tmp_path / "data" / "file")
        raise UploadRejected(415, "No.")

    site = Site(tmp_path, complete, kind=kind)
    url = site.send(status=415)
    assert site.tus.head(url).status_code == 404
    assert site.files() == {}
    assert _files(tmp_path / "data") == []


def test_a_file_may_be_moved_more_than_once(tmp_path: Path, kind: str) -> None:
    """The last place counts, and may be the one that it came from."""

    def complete(upload: Any) -> None:
        home = upload.path
        upload.move_to("a")
        upload.move_to("b")
        if len(site.completed) == 2:
            upload.move_to(home)

    site = Site(tmp_path, complete, kind=kind)
    url = site.send()
    assert site.files() == {"b": CONTENT}
    site.is_right(url, site.folder / "b")
    url = site.send()
    site.is_right(url, site.folder / url.rpartition("/")[2])


@pytest.mark.parametrize("is_far", [False, True])
def test_a_hook_that_commits_by_itself_may_move_before_and_after(tmp_path: Path, elsewhere: Path, is_far: bool) -> None:
    """Its commit is the upload's; where the file is, is saved once more if it was moved later."""
    folder = elsewhere if is_far else tmp_path / "data"

    def complete(upload: Any) -> None:
        session = site.app.extensions["sqlalchemy"].session
        upload.move_to(folder / "early")
        session.commit()
        if len(site.completed) == 2:
            upload.move_to(folder / "late")
        assert upload.path.read_bytes() == CONTENT

    site = Site(tmp_path, complete, kind="sqlalchemy")
    site.is_right(site.send(), folder / "early")
    url = site.send()
    assert _files(folder) == [folder / "late"]
    site.is_right(url, folder / "late")


@pytest.mark.parametrize(
    "target", ["../file", "a/../../file", "", ".", "a/..", ".partial", ".partial/file", "a/../.partial/x", "a\0b"]
)
def test_relative_paths_stay_in_the_upload_folder(tmp_path: Path, target: str) -> None:
    """What a client may have had a say in does not lead elsewhere, nor to where unfinished files are."""

    def complete(upload: Any) -> None:
        with pytest.raises(ValueError):
            upload.move_to(target)

    site = Site(tmp_path, complete)
    url = site.send()
    site.is_right(url, site.folder / url.rpartition("/")[2])


def test_unfinished_files_are_left_alone_by_whatever_name(tmp_path: Path) -> None:
    """A link leads to them here; on a file system that ignores case, ``.PARTIAL`` does."""

    def complete(upload: Any) -> None:
        with pytest.raises(ValueError):
            upload.move_to("alias/file")

    site = Site(tmp_path, complete)
    site.folder.mkdir(parents=True)
    (site.folder / "alias").symlink_to(".partial")
    url = site.send()
    site.is_right(url, site.folder / url.rpartition("/")[2])


def test_the_same_place_by_another_name_is_the_same_place(tmp_path: Path) -> None:
    """A link to the upload folder: the only name of the file is not taken for a second one."""
    alias = tmp_path / "alias"
    site = Site(tmp_path, lambda upload: upload.move_to(alias / upload.id))
    site.folder.mkdir(parents=True)
    alias.symlink_to(site.folder)
    url = site.send()
    site.is_right(url, site.folder / url.rpartition("/")[2])
    site.complete = lambda upload: (upload.move_to(alias / "one"), upload.move_to(site.folder / "one"))
    site.is_right(site.send(), site.folder / "one")


def test_a_file_is_moved_in_on_complete_only(tmp_path: Path, kind: str) -> None:
    """In other hooks, of other uploads and where the storage has no such thing, it is an error that says so."""
    site = Site(tmp_path, lambda upload: None, kind=kind)
    url = site.send()
    with site.app.app_context():
        upload = UploadView(site.state.repository.get(url.rpartition("/")[2]))
        with pytest.raises(RuntimeError, match="on_complete"):
            upload.move_to("file")

    def move_another(other: Any) -> None:
        with pytest.raises(RuntimeError, match="on_complete"):
            upload.move_to("file")
        other.move_to("file")

    site.complete = move_another
    moved = site.send()
    site.is_right(url, site.folder / upload.id, is_alone=False)
    site.is_right(moved, site.folder / "file")


def test_a_storage_that_moves_nothing_says_so(tmp_path: Path) -> None:
    """The hook fails, and what the app did instead before goes on to work."""

    def complete(upload: Any) -> None:
        with pytest.raises(RuntimeError, match="storage"):
            upload.move_to("file")

    for storage in (MemoryStorage(), {"main": MemoryStorage(), "disk": LocalStorage(tmp_path / "disk")}):
        site = Site(tmp_path, complete, storage=storage, flow=False)
        assert site.tus.get(site.send()).data == CONTENT


def test_several_storages_move_as_each_of_them_does(tmp_path: Path) -> None:
    """The upload's own storage is asked, and the path is relative to its folder."""
    storages = {"main": LocalStorage(tmp_path / "main"), "archive": LocalStorage(tmp_path / "archive")}
    site = Site(tmp_path, lambda upload: upload.move_to("a/file"), storage=storages)
    site.folder = tmp_path / "main"
    site.is_right(site.send(), tmp_path / "main" / "a" / "file")
    later = Site(tmp_path / "later", lambda upload: upload.move_to("a/file"), storage=dict(reversed(storages.items())))
    later.folder = tmp_path / "archive"
    later.is_right(later.send(), tmp_path / "archive" / "a" / "file")


@pytest.mark.parametrize("merges", [False, True])
def test_flow_js_files_move_as_well(tmp_path: Path, merges: bool) -> None:
    """Chunks that were placed, and chunks that were merged; an empty file, too."""
    folder = tmp_path / "instance" / "uploads"
    storage = LocalStorage(folder, chunks=ChunkFolder(tmp_path / "chunks") if merges else None)
    site = Site(tmp_path, lambda upload: upload.move_to(upload.filename), storage=storage)
    flow = Flow(site.app.test_client())
    sample = Sample(bytes(range(35)))
    flow.send(sample, [3, 1, 2])
    assert site.files() == {"report.csv": sample.content}
    empty = Sample(b"", name="empty.csv")
    flow.send(empty, [1])
    assert (folder / "empty.csv").read_bytes() == b""
    site.command("verify")


def test_a_chunk_that_is_sent_again_after_a_failure_completes_the_file(tmp_path: Path, kind: str) -> None:
    """flow.js sends its last chunk once more: the hook is called again, moves the file, and the client is told."""

    def complete(upload: Any) -> None:
        upload.move_to(tmp_path / "data" / "file")
        if len(site.completed) < 3:
            raise RuntimeError("not yet")

    site = Site(tmp_path, complete, kind=kind)
    flow = Flow(site.app.test_client())
    sample = Sample(bytes(range(35)))
    flow.send(sample, [1, 3])
    assert [flow.post(sample, number).status_code for number in (2, 3)] == [503, 503]
    told = flow.post(sample, 2).json
    assert told is not None and told["complete"] is True
    assert len(site.completed) == 3
    assert _files(tmp_path / "data") == [tmp_path / "data" / "file"]
    assert (tmp_path / "data" / "file").read_bytes() == sample.content


def test_what_a_crash_left_in_two_places_is_told_apart_later(tmp_path: Path, kind: str) -> None:
    """The record had been saved, and the first name not yet removed; or the hook was repeated without a move."""
    site = Site(tmp_path, lambda upload: upload.move_to(tmp_path / "data" / upload.id), kind=kind)
    site.state.storage.settle_moves = lambda upload: None  # as if killed before it
    url = site.send()
    upload_id = url.rpartition("/")[2]
    assert (site.folder / upload_id).exists()
    del site.state.storage.settle_moves
    site.now += timedelta(days=9)
    site.is_right(url, tmp_path / "data" / upload_id)


def test_a_file_that_the_app_took_away_is_told_with_the_way_to_do_it(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """``os.replace`` and then a failure: the bytes are lost to the upload, and the log says what to call instead."""

    def complete(upload: Any) -> None:
        os.replace(upload.path, tmp_path / "taken")
        raise RuntimeError("after the move")

    site = Site(tmp_path, complete, kind=kind)
    url = site.send(status=500)
    with caplog.at_level(logging.ERROR):
        assert site.tus.head(url).headers["Upload-Offset"] == "0"
    (line,) = (record.getMessage() for record in caplog.records if "move_to" in record.getMessage())
    assert url.rpartition("/")[2] in line
    site.complete = lambda upload: upload.move_to(tmp_path / "kept")
    assert site.tus.patch(url, 0, CONTENT).status_code == 204
    site.is_right(url, tmp_path / "kept")
