"""Uploads that go to different storages, or to different folders of one."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from flask import abort
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected
from flask_resumable.core.upload import Upload
from flask_resumable.interfaces import Storage
from flask_resumable.interfaces import StorageCapabilities
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.local.chunk_folder import ChunkFolder
from flask_resumable.storage.multiple import MultiStorage
from flask_resumable.testing import StorageContract
from flask_resumable.testing.samples import an_upload
from tests.conformance.tus_client import final
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import PARTIAL
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample

ARCHIVED = {"Upload-Metadata": metadata(filename="old.txt")}


class Uploads(FlaskResumable):
    """Old files go to the archive. ``answers`` are given instead, by the name of the method."""

    answers: dict[str, Callable[[Any], str | None]]
    asked: list[str]

    def choose_storage(self, upload: Any) -> str | None:
        self.asked.append(upload.id)
        return self._answer("choose_storage", "archive" if upload.filename == "old.txt" else None, upload)

    def choose_folder(self, upload: Any) -> str | None:
        return self._answer("choose_folder", None, upload)

    def _answer(self, name: str, default: str | None, upload: Any) -> str | None:
        return self.answers[name](upload) if name in self.answers else default


class Site:
    """An app with two folders for uploads. Made anew, it is another process on the same disk."""

    def __init__(self, home: Path, storages: Any = None, *, now: Callable[[], datetime] | None = None) -> None:
        self.home = home
        self.app = Flask("app", instance_path=str(home / "instance"))
        uploads = Uploads()
        uploads.answers, uploads.asked = {}, []
        self.uploads = uploads
        if now is not None:
            uploads._now = now
        uploads.init_app(self.app, storage=storages or both(home))
        self.state = self.app.extensions["resumable"]
        self.tus = Tus(self.app.test_client())
        self.flow = Flow(self.app.test_client())

    def files(self) -> dict[str, bytes]:
        """All that is stored, by path below the two folders; no fences."""
        found = (path for name in ("main", "archive") for path in (self.home / name).rglob("*") if path.is_file())
        return {str(path.relative_to(self.home)): path.read_bytes() for path in found if path.suffix != ".lock"}

    def notes(self, url: str) -> dict[str, Any]:
        """What the record says of the storage."""
        return dict(self.state.repository.get(id_of(url)).storage)

    def run(self, *arguments: str) -> Any:
        return self.app.test_cli_runner().invoke(args=["tus", *arguments])


def both(home: Path, **options: Any) -> dict[str, Storage]:
    return {"main": LocalStorage(home / "main", **options), "archive": LocalStorage(home / "archive", **options)}


def id_of(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes sites on one home folder."""
    made: list[Site] = []

    def make(storages: Any = None, **options: Any) -> Site:
        made.append(Site(tmp_path, storages, **options))
        return made[-1]

    yield make
    for site in made:
        site.state.repository.dispose()


@pytest.fixture
def site(sites: Callable[..., Site]) -> Site:
    return sites()


def test_each_upload_goes_where_it_belongs(site: Site) -> None:
    """What is chosen gets the bytes; without a choice, the first does. They come back, and go, from there."""
    old, new = site.tus.upload(b"old", ARCHIVED), site.tus.upload(b"new")
    assert site.files() == {f"archive/{id_of(old)}": b"old", f"main/{id_of(new)}": b"new"}
    upload = site.state.repository.get(id_of(old))
    with site.state.storage.open(upload) as stream:
        assert stream.read() == b"old"
    assert site.state.storage.path(upload) == site.home / "archive" / id_of(old)
    assert site.tus.delete(old).status_code == 204
    assert site.files() == {f"main/{id_of(new)}": b"new"}


def test_the_choice_is_made_once(site: Site, sites: Callable[..., Site]) -> None:
    """Later requests, in other processes and after a change of mind, go to the storage that was chosen first."""
    url = site.tus.new(6, ARCHIVED)
    site.tus.patch(url, 0, b"abc")
    later = sites()
    later.uploads.answers["choose_storage"] = lambda upload: "main"
    assert later.tus.patch(url, 3, b"def").status_code == 204
    assert later.files() == {f"archive/{id_of(url)}": b"abcdef"}
    assert site.uploads.asked == [id_of(url)] and later.uploads.asked == []
    assert later.notes(url)["place"] == {"storage": "archive"}


@pytest.mark.parametrize("kept_apart", [False, True], ids=["placed", "merged"])
def test_chunks_go_where_they_belong(sites: Callable[..., Site], tmp_path: Path, kept_apart: bool) -> None:
    """flow.js's uploads are chosen for as well, with what their storage has to know of their chunks."""
    storages = both(tmp_path)
    if kept_apart:
        storages["archive"] = LocalStorage(tmp_path / "archive", chunks=ChunkFolder(tmp_path / "archive" / ".chunks"))
    site, later = sites(storages), sites(storages)
    site.uploads.answers["choose_folder"] = lambda upload: "tenant-7"
    sample = Sample(bytes(range(30)), name="old.txt")
    assert site.flow.send(sample, [2]).status_code == 200
    (unfinished,) = site.files()
    assert unfinished.startswith("archive/.chunks/" if kept_apart else "archive/.partial/")
    assert later.flow.send(sample, [1]).status_code == 200
    answer = later.flow.send(sample, [3])
    assert site.files() == {f"archive/tenant-7/{answer.json['id']}": sample.content}  # type: ignore[index]


def test_folders_are_below_the_upload_folder(sites: Callable[..., Site], tmp_path: Path) -> None:
    """A tenant's finished files lie in the tenant's folder, behind what strftime makes of the upload folder."""
    site = sites(LocalStorage(tmp_path / "main" / "%Y"))
    site.uploads.answers |= {"choose_storage": lambda upload: None, "choose_folder": lambda upload: "tenant-7/in"}
    url = site.tus.upload(b"abc")
    assert site.files() == {f"main/{datetime.now(UTC):%Y}/tenant-7/in/{id_of(url)}": b"abc"}
    assert site.notes(url)["place"] == {"storage": "main", "folder": "tenant-7/in"}
    assert site.tus.delete(url).status_code == 204
    assert site.files() == {}


def test_a_file_that_was_published_before_a_crash_is_found_in_its_folder(site: Site) -> None:
    """The rename was done, the record does not know it: removing the upload removes the file."""
    site.uploads.answers["choose_folder"] = lambda upload: "tenant-7"
    url = site.tus.new(3)
    site.tus.patch(url, 0, b"ab")
    (site.home / "main" / "tenant-7").mkdir()
    (site.home / "main" / ".partial" / f"{id_of(url)}.part").rename(site.home / "main" / "tenant-7" / id_of(url))
    assert site.tus.delete(url).status_code == 204
    assert site.files() == {}


BAD = {
    "choose_storage": ["nowhere", "", 5],
    "choose_folder": ["../main", "/etc", "a//b", "a/", ".", "..", "a\0b", "ä", "a\n", "x" * 65, "/".join("a" * 9), 5],
}


@pytest.mark.parametrize(("method", "answer"), [(name, answer) for name, answers in BAD.items() for answer in answers])
def test_a_bad_answer_is_an_error_of_the_app(
    site: Site, method: str, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets a 500 that tells nothing, the log says what was wrong, and nothing is created."""
    site.uploads.answers[method] = lambda upload: answer
    response = site.tus.create(5)
    assert response.status_code == 500
    assert repr(answer) not in response.text
    assert repr(answer) in caplog.text
    assert site.files() == {} and not re.search("[0-9a-f]{32}", site.run("list").output)


@pytest.mark.parametrize("refuse", [UploadRejected(403, "No tenant."), 403], ids=["rejected", "aborted"])
def test_choosing_may_refuse(site: Site, refuse: Any) -> None:
    """Whoever chooses may say no, as on_create may; nothing is left."""

    def answer(upload: Any) -> str:
        if isinstance(refuse, Exception):
            raise refuse
        abort(refuse, "No tenant.")

    site.uploads.answers["choose_folder"] = answer
    response = site.tus.create(5)
    assert (response.status_code, response.text) == (403, "No tenant.\n")
    assert not re.search("[0-9a-f]{32}", site.run("list").output)


def test_a_storage_that_is_not_set_up_any_more_is_unavailable(
    site: Site, sites: Callable[..., Site], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its uploads answer 503 and the log says why; the others live on, and so do the commands."""
    lost, url = site.tus.new(6, ARCHIVED), site.tus.new(6)
    site.tus.patch(lost, 0, b"abc")
    now = datetime.now(UTC)
    later = sites({"main": LocalStorage(tmp_path / "main")}, now=lambda: now)
    assert later.tus.patch(lost, 3, b"def").status_code == 503
    assert f"Upload {id_of(lost)} is in the storage 'archive', which is not set up here (main)." in caplog.text
    assert later.tus.patch(url, 0, b"abcdef").status_code == 204
    assert '"offset": 3' in later.run("show", id_of(lost)).output
    assert len(later.run("list").output.splitlines()) == 2
    now += timedelta(days=2)
    result = later.run("delete_expired")
    assert (result.exit_code, "failed: 1" in result.output) == (1, True)
    assert sites(now=lambda: now).run("delete_expired").exit_code == 0
    assert site.files() == {f"main/{id_of(url)}": b"abcdef"}


@pytest.mark.parametrize("spread", [False, True], ids=["one", "two"])
def test_parts_are_put_together_wherever_they_are(site: Site, spread: bool) -> None:
    """A final upload can be made of parts in other storages than its own."""
    first = site.tus.upload(b"hello ", {**PARTIAL, **(ARCHIVED if spread else {})})
    second = site.tus.upload(b"world", PARTIAL)
    whole = site.tus.new(headers=final(first, second, first))
    assert site.files()[f"main/{id_of(whole)}"] == b"hello worldhello "
    assert site.tus.head(whole).headers["Upload-Length"] == "17"


def test_parts_flow_from_storage_to_storage_in_blocks(site: Site) -> None:
    """Putting a file together takes no memory of its size."""
    size = 24 * 1024 * 1024
    part = site.tus.upload(bytes(size), {**PARTIAL, **ARCHIVED})
    tracemalloc.start()
    whole = site.tus.new(headers=final(part))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (site.home / "main" / id_of(whole)).stat().st_size == size
    assert peak < size / 4


def test_a_part_that_lacks_bytes_makes_no_file(site: Site) -> None:
    """A part that somebody cut leaves the final upload as it was, to be finished once the part is whole again."""
    part = site.tus.upload(b"hello", {**PARTIAL, **ARCHIVED})
    path = site.home / "archive" / ".partial" / f"{id_of(part)}.part"
    path.write_bytes(b"hel")
    assert site.tus.create(headers=final(part)).status_code == 503
    (whole,) = (line.split()[0] for line in site.run("list", "--status", "active").output.splitlines())
    path.write_bytes(b"hello")
    assert site.run("complete_pending").exit_code == 0
    assert (site.home / "main" / whole).read_bytes() == b"hello"


def test_leftovers_are_removed_from_every_storage(sites: Callable[..., Site]) -> None:
    """Bytes that no record knows go, whichever storage they are in; those of the living stay."""
    now = datetime.now(UTC)
    site = sites(now=lambda: now)
    urls = [site.tus.new(6, headers) for headers in (None, ARCHIVED, ARCHIVED)]
    for url in urls:
        site.tus.patch(url, 0, b"abc")
    for url in urls[:2]:
        upload, claim = site.state.repository.claim(id_of(url), now=now, until=now)
        site.state.repository.remove(upload, claim)
    now += timedelta(hours=2)
    assert "orphans removed: 2, bytes freed: 6," in site.run("delete_expired", "--orphans-after", "1").output
    assert [*site.files()] == [f"archive/.partial/{id_of(urls[2])}.part"]


class TestMultiStorage(StorageContract):
    """Several storages keep what each of them promises."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return MultiStorage(both(tmp_path))

    @pytest.fixture
    def kept(self, tmp_path: Path) -> Callable[[], set[str]]:
        return lambda: {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}


class Plain:
    """A storage that can do nothing but what it must."""

    capabilities = StorageCapabilities()

    def __init__(self, directory: Path) -> None:
        local = LocalStorage(directory)
        self.writer, self.finish, self.open, self.path = local.writer, local.finish, local.open, local.path
        self.delete, self.remove_orphans, self.orphans = local.delete, local.remove_orphans, local.orphans


def test_only_what_all_can_do_is_offered(tmp_path: Path) -> None:
    """Concatenation and flow.js need a capability of the storage, and there is no telling which one it will be."""
    local, plain = LocalStorage(tmp_path / "main"), Plain(tmp_path / "archive")
    for other, can in ((local, True), (plain, False)):
        offered = MultiStorage({"main": local, "archive": other}).capabilities
        assert (offered.concatenation is not None, offered.chunks is not None) == (can, can)
    app = Flask("app", instance_path=str(tmp_path))
    with pytest.raises(ConfigurationError, match="FLOW_ENABLED"):
        FlaskResumable(app, storage={"main": local, "archive": plain})


def test_chunks_come_in_where_their_upload_is(tmp_path: Path) -> None:
    """A chunk is put in its place while it comes in, in the storage that was chosen for its upload."""
    choice = MultiStorage(both(tmp_path), storage=lambda upload: "archive")
    upload = an_upload(length=10, client_key="a key", storage=choice.layout(10, 1))
    upload = replace(upload, storage=choice.choose(upload))
    incoming = choice.receiving(upload, 1, 0, 10)
    assert incoming is not None
    with closing(incoming):
        incoming.write(b"0123456789")
        with incoming.settling():
            pass
    choice.finish(upload, 1)
    assert (tmp_path / "archive" / upload.id).read_bytes() == b"0123456789"


def test_who_has_no_choice_pays_nothing(app: Flask, tmp_path: Path) -> None:
    """One storage and no method overridden: it is used as it is, and the record has nothing to tell of it."""
    storage = LocalStorage(tmp_path)
    FlaskResumable(app, storage=storage)
    state = app.extensions["resumable"]
    assert state.storage is storage
    upload: Upload = state.repository.get(id_of(Tus(app.test_client()).new(5)))
    assert upload.storage == {}


@pytest.mark.parametrize("names", [[], ["a b"], [""], [5]], ids=str)
def test_storages_have_names(app: Flask, tmp_path: Path, names: list[Any]) -> None:
    """No storage, or names that are none, stop the app."""
    with pytest.raises(ConfigurationError, match="storage="):
        FlaskResumable(app, storage={name: LocalStorage(tmp_path) for name in names})


@pytest.mark.parametrize(
    "setting", [{"TEMP_DIR": "/tmp/chunks"}, {"PRE_PROCESS_CALLBACK": print}, {"DELETE_CHUNKS_ON_SAVE": False}], ids=str
)
def test_settings_for_another_storage_are_not_passed_over(app: Flask, tmp_path: Path, setting: dict[str, Any]) -> None:
    """What is set for the chunks of the built-in storage stops an app that passes its own."""
    (name, value) = setting.popitem()
    app.config[f"FLOW_{name}"] = value
    with pytest.raises(ConfigurationError, match=f"FLOW_{name}"):
        FlaskResumable(app, storage=LocalStorage(tmp_path))


def test_choosing_holds_no_connection(app: Flask, tmp_path: Path) -> None:
    """The app may look things up to choose, and one connection is enough for all."""
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.sqlite'}"
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 2}
    db = SQLAlchemy(app)

    class ByTenant(FlaskResumable):
        def choose_folder(self) -> str | None:  # type: ignore[override]
            return f"tenant-{db.session.scalar(text('select 7'))}"

    ByTenant(app, model=SQLAlchemyModel, db=db, storage=LocalStorage(tmp_path / "main"))
    url = Tus(app.test_client()).upload(b"abc")
    assert (tmp_path / "main" / "tenant-7" / id_of(url)).read_bytes() == b"abc"
    with app.app_context():
        db.engine.dispose()
