"""Ids that the app chooses with ``choose_id``."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected
from flask_resumable.core.ranges import ChunkSpan
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import UploadNotFound
from flask_resumable.interfaces import Storage
from flask_resumable.protocols.registry import PROTOCOLS
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.service.claims import ClaimedUpload
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.local.chunk_folder import ChunkFolder
from flask_resumable.storage.multipart.storage import MultipartStorage
from tests.conformance.tus_client import final
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample
from tests.ietf.client import Ietf
from tests.memory_store import MemoryStore

ID = "report-7"
LONG = "x" * 64
SAMPLE = Sample(bytes(range(30)))


class Site:
    """An app that chooses ids. Made anew, it is another process on the same disk and database."""

    def __init__(self, home: Path, chosen: Any = ID, *, storage: Storage | None = None, **options: Any) -> None:
        class Uploads(FlaskResumable):
            def choose_id(inner, upload: Any) -> Any:
                return self.choose(upload)

            def current_owner(inner) -> str | None:
                return self.owner

        self.choose: Callable[[Any], Any] = lambda upload: chosen
        self.owner: str | None = None
        self.home = home
        self.time = datetime.now(UTC)
        self.app = Flask("app", instance_path=str(home / "instance"))
        self.app.config["RESUMABLE_DOWNLOADS"] = True
        storage = storage or LocalStorage(home / "uploads")
        self.uploads = Uploads(self.app, storage=storage, now=lambda: self.time, **options)
        self.state = self.app.extensions["resumable"]
        client = self.app.test_client()
        self.tus, self.flow, self.ietf = Tus(client), Flow(client), Ietf(client)

    def record(self, upload_id: str = ID) -> Upload:
        found: Upload = self.state.repository.get(upload_id)
        return found

    def files(self) -> dict[str, bytes]:
        """All files below the upload folder, apart from fences."""
        found = (path for path in (self.home / "uploads").rglob("*") if path.is_file() and path.suffix != ".lock")
        return {str(path.relative_to(self.home / "uploads")): path.read_bytes() for path in found}

    def create(self, protocol: str) -> Any:
        """Start an upload, which fails if the id is taken."""
        if protocol == "tus":
            return self.tus.create(30)
        return self.ietf.create(length=30) if protocol == "ietf" else self.flow.post(SAMPLE, 1)

    def clean(self) -> Any:
        return self.app.test_cli_runner().invoke(args=["tus", "delete_expired"])


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes sites on one home folder."""
    made: list[Site] = []

    def make(*arguments: Any, **options: Any) -> Site:
        made.append(Site(tmp_path, *arguments, **options))
        return made[-1]

    yield make
    for site in made:
        if hasattr(site.state.repository, "dispose"):
            site.state.repository.dispose()


@pytest.fixture
def site(sites: Callable[..., Site]) -> Site:
    return sites()


EACH = pytest.mark.parametrize("protocol", ["tus", "flow", "ietf"])


@EACH
@pytest.mark.parametrize("upload_id", [ID, LONG, "0" * 32])
def test_an_upload_has_the_chosen_id(sites: Callable[..., Site], protocol: str, upload_id: str) -> None:
    """It is in the URL and in the record, and everything that is done with an upload works with it."""
    site = sites(upload_id)
    if protocol == "flow":
        assert site.flow.send(SAMPLE, [1, 2, 3]).json["id"] == upload_id  # type: ignore[index]
    else:
        response = site.create(protocol)
        assert response.headers["Location"].rpartition("/")[2] == upload_id
        url = f"/files/{upload_id}"
        assert site.tus.patch(url, 0, SAMPLE.content[:9]).status_code == 204
        assert site.tus.offset(url) == 9
        assert site.tus.patch(url, 9, SAMPLE.content[9:]).status_code == 204
    assert list(site.files().values()) == [SAMPLE.content]
    assert site.tus.get(f"/files/{upload_id}").data == SAMPLE.content
    assert site.flow.open("GET", path=upload_id).status_code == 200
    with site.app.test_request_context():
        found = site.uploads.get(upload_id)
        assert found is not None and found.id == upload_id
        assert found.path is not None and found.path.read_bytes() == SAMPLE.content and found.digest("md5")
        assert [upload.id for upload in site.uploads.uploads()] == [upload_id]
        assert site.uploads.url_for(found).endswith(f"/{upload_id}")
        assert site.uploads.mark(upload_id, "ready") and site.uploads.delete(upload_id)
    assert site.files() == {}


def test_without_a_choice_the_id_is_random(sites: Callable[..., Site]) -> None:
    """``None`` leaves it to the extension, and the file has the id as its name, as always."""
    site = sites(None)
    url = site.tus.upload(b"abc")
    upload_id = url.rpartition("/")[2]
    assert len(upload_id) == 32 and site.files() == {upload_id: b"abc"}
    assert (site.record(upload_id).fence, site.record(upload_id).storage.get("place")) == (2, None)


def test_the_choice_can_depend_on_the_upload(tmp_path: Path) -> None:
    """The method gets what other methods that choose get. It can refuse, and it can be async."""

    class Uploads(FlaskResumable):
        async def choose_id(self, upload: Any) -> str | None:
            if upload.metadata.get("report") is None:
                raise UploadRejected(400, "Which report?")
            return f"report-{upload.metadata['report']}"

    app = Flask("app", instance_path=str(tmp_path))
    Uploads(app)
    tus = Tus(app.test_client())
    assert tus.new(3, {"Upload-Metadata": metadata(report="12")}).endswith("/report-12")
    response = tus.create(3)
    assert (response.status_code, response.text) == (400, "Which report?\n")
    app.extensions["resumable"].repository.dispose()


@EACH
@pytest.mark.parametrize("chosen", ["..", "a/b", "-a", "A", "", "status", 5, "x" * 65])
def test_a_bad_id_is_an_error_of_the_app(
    sites: Callable[..., Site], protocol: str, chosen: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the method and the value. The client learns neither, and nothing is created."""
    site = sites(chosen)
    response = site.create(protocol)
    assert response.status_code == (503 if protocol == "flow" else 500) and "choose_id" not in response.text
    assert f"choose_id() returned {chosen!r}" in caplog.text
    assert site.files() == {} and not list(site.state.repository.list(limit=9))


def test_every_fixed_url_is_reserved(site: Site) -> None:
    """What a protocol serves below its URL, besides uploads, cannot be the id of an upload."""
    fixed = {
        rule.rule.rpartition("/")[2]
        for rule in site.app.url_map.iter_rules()
        if rule.endpoint.startswith("resumable_") and "<" not in rule.rule
    }
    assert fixed - {""} <= frozenset[str]().union(*(plug.reserved for plug in PROTOCOLS))


@EACH
@pytest.mark.parametrize("state", ["begun", "complete", "expired", "gone"])
def test_a_taken_id_is_refused(sites: Callable[..., Site], protocol: str, state: str) -> None:
    """The client gets a 409 with a reason, and nothing happens to the other upload, whosever it is."""
    site, other = sites(), sites()
    other.owner = "bob"
    sample = replace(SAMPLE, name="first.csv")
    site.flow.send(sample, [1] if state in ("begun", "expired") else [1, 2, 3])
    if state == "expired":
        other.time += timedelta(days=9)
    if state == "gone":
        assert site.flow.cancel(sample).status_code == 204
    before, files = site.record(), site.files()
    response = other.create(protocol)
    assert response.status_code == 409
    assert "Another upload has the same id already" in response.text
    assert (site.record(), site.files()) == (before, files)
    if state == "begun":
        assert site.flow.send(sample, [2, 3]).json["id"] == ID  # type: ignore[index]
        assert list(site.files().values()) == [SAMPLE.content]


def test_content_for_a_taken_id_is_not_stored(site: Site) -> None:
    """Content that comes with the creation does not reach the other upload."""
    site.tus.new(30)
    assert site.tus.create_with(b"x" * 30, 30).status_code == 409
    assert site.ietf.create(b"x" * 30, complete=True).status_code == 409
    assert site.record().offset == 0 and site.files() == {}


def test_a_repeated_creation_is_not_refused(site: Site) -> None:
    """It finds the upload of the first request by its key, though the id is taken. Another key does not."""
    url = site.tus.new(3, {"Idempotency-Key": "one"})
    assert site.tus.new(3, {"Idempotency-Key": "one"}) == url
    assert site.tus.create(3, {"Idempotency-Key": "two"}).status_code == 409
    site.choose = lambda upload: "report-8"
    assert site.flow.send(SAMPLE, [1]).status_code == 200
    assert site.flow.send(SAMPLE, [2, 3]).status_code == 200
    assert sorted(site.files().values()) == [SAMPLE.content]


def test_parts_have_random_ids(site: Site) -> None:
    """A final upload gets the chosen id. Its parts are internal, and there are several of them."""
    parts = site.tus.part(b"hello "), site.tus.part(b"world")
    assert all(len(part.rpartition("/")[2]) == 32 for part in parts)
    whole = site.tus.new(headers=final(*parts))
    assert whole.endswith(f"/{ID}") and site.tus.get(whole).data == b"hello world"


# --- an id is used again ---


def test_an_id_can_be_used_again_once_its_upload_is_removed(site: Site) -> None:
    """By its client, its app, or after it has expired."""
    for content in (b"one", b"two"):
        url = site.tus.upload(content)
        assert site.tus.get(url).data == content
        assert site.tus.delete(url).status_code == 204
    site.tus.new(3)
    site.time += timedelta(days=9)
    assert site.tus.create(3).status_code == 409
    assert site.clean().exit_code == 0
    assert site.tus.upload(b"abc") == url
    assert list(site.files().values()) == [b"abc"]


@pytest.fixture
def again(site: Site) -> tuple[Upload, Upload]:
    """A removed upload, as its last request has read it, and the next one with the same id, of the same length."""
    url = site.tus.new(10)
    site.tus.patch(url, 0, b"old")
    old = site.record()
    site.tus.delete(url)
    site.tus.new(10)
    site.tus.patch(url, 0, b"new")
    return old, site.record()


def test_late_writes_do_not_reach_the_next_upload(site: Site, again: tuple[Upload, Upload]) -> None:
    """A request that slept while its upload was removed, and the id given to another one, changes nothing of that."""
    old, new = again
    storage, repository = site.state.storage, site.state.repository
    with storage.writer(old, 0, old.fence) as writer:
        writer.write(b"xxxxxxxxxx")
        stored = writer.flush()
    storage.finish(replace(old, received=replace(old, storage=stored).received.add(0, 10, 1)), old.fence)
    site.state.service.discard_stray(old)
    claim = old.fence
    with pytest.raises(ClaimLost):
        repository.save(old, type(_claim(site))(ID, claim), until=None)
    assert not repository.save_progress(old)
    with pytest.raises(UploadNotFound), site.state.service.claiming(ID, known=old):
        pass
    repository.remember_digest(old, "md5", "wrong")
    current = site.record()
    assert (current.offset, current.stored_as, current.status) == (3, new.stored_as, new.status)
    assert site.tus.patch(f"/files/{ID}", 3, b"1234567").status_code == 204
    assert list(site.files().values()) == [b"new1234567"]
    assert site.state.service.digest(site.record(), "md5", 1024) != "wrong"


def _claim(site: Site) -> Any:
    with site.state.service.claiming(ID) as claimed:
        assert isinstance(claimed, ClaimedUpload)
        return claimed.claim


def test_a_late_chunk_does_not_count_for_the_next_upload(site: Site) -> None:
    """flow.js: a chunk that is stored when its upload is removed is not recorded in another client's upload."""
    first, second = replace(SAMPLE, name="a.csv"), replace(SAMPLE, name="b.csv")
    site.flow.send(first, [1])
    old = site.record()
    with site.app.test_request_context():
        site.uploads.delete(ID)
    site.clean()
    site.time += timedelta(days=1)  # the tombstone ends
    site.clean()
    site.flow.send(second, [1])
    chunks = site.state.protocols["flow"].chunks
    limits = site.state.protocols["flow"].limits
    with site.app.test_request_context(), pytest.raises(UploadNotFound):
        chunks._commit(old, ChunkSpan(2, 10, 20, 10), limits)
    assert site.record().received.total == 10


# --- races ---


@EACH
def test_of_many_creations_one_gets_the_id(sites: Callable[..., Site], protocol: str) -> None:
    """In threads of several processes; here, of several apps on one database. All others get a 409."""
    several = [sites() for _ in range(3)]
    several[0].tus.options()
    barrier = threading.Barrier(6)

    def create(number: int) -> int:
        site = several[number % 3]
        client = site.app.test_client()
        barrier.wait(60)
        if protocol == "flow":
            return Flow(client).post(replace(SAMPLE, name=f"{number}.csv"), 1).status_code
        return (Tus(client).create(30) if protocol == "tus" else Ietf(client).create(length=30)).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(create, range(6)))
    assert statuses[0] in (200, 201) and statuses[1:] == [409] * 5


def test_chunks_that_arrive_together_share_the_upload(sites: Callable[..., Site]) -> None:
    """The first chunks of one file race for the id. They belong to one upload, so none is refused."""
    several = [sites() for _ in range(3)]
    barrier = threading.Barrier(3)

    def send(number: int) -> int:
        flow = Flow(several[number - 1].app.test_client())
        barrier.wait(60)
        return flow.post(SAMPLE, number).status_code

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(send, [1, 2, 3])) == [200] * 3
    assert list(several[0].files().values()) == [SAMPLE.content]


# --- orphans ---


def test_unfinished_bytes_of_a_removed_upload_are_orphans(site: Site, again: tuple[Upload, Upload]) -> None:
    """They are removed, and those of the next upload with the id stay, whatever their age."""
    old, new = again
    with site.state.storage.writer(old, 0, old.fence) as writer:
        writer.write(b"late")
        writer.flush()
    folder = site.home / "uploads" / ".partial"
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    result = site.app.test_cli_runner().invoke(args=["tus", "verify"])
    assert old.stored_as in result.output and new.stored_as not in result.output
    assert site.clean().exit_code == 0
    assert set(site.files()) == {f".partial/{new.stored_as}.part"}
    assert site.tus.patch(f"/files/{ID}", 3, b"1234567").status_code == 204


def test_foreign_files_are_not_taken_for_ours(sites: Callable[..., Site], tmp_path: Path) -> None:
    """Not even if their names look like it: neither next to finished files, nor in a folder for chunks."""
    chunks = tmp_path / "chunks"
    site = sites(storage=LocalStorage(tmp_path / "uploads", chunks=ChunkFolder(chunks)))
    likely = f"{ID}-{'0' * 32}"
    for path in (tmp_path / "uploads" / ID, tmp_path / "uploads" / likely, chunks / likely / "mine.txt", chunks / ID):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        os.utime(path, (0, 0))
    os.utime(chunks / likely, (0, 0))
    site.flow.send(SAMPLE, [1])
    assert site.flow.send(SAMPLE, [2, 3]).status_code == 200
    assert site.clean().exit_code == 0
    with site.app.test_request_context():
        assert site.uploads.delete(ID)
    assert site.clean().exit_code == 0
    assert (tmp_path / "uploads" / ID).read_text() == (tmp_path / "uploads" / likely).read_text() == "mine"
    assert (chunks / likely / "mine.txt").read_text() == (chunks / ID).read_text() == "mine"


def test_foreign_objects_are_not_taken_for_ours(sites: Callable[..., Site]) -> None:
    """In a store, ours are found by a note, and not by the form of their keys."""
    store = MemoryStore()
    store.put(f"up/{ID}", b"mine")
    likely = f"up/{ID}-{'0' * 32}"
    foreign = store.begin(likely)
    site = sites(storage=MultipartStorage(store, prefix="up/"), repository=MemoryRepository())
    site.tus.new(20 * 2**20)
    site.tus.patch(f"/files/{ID}", 0, b"x" * (9 * 2**20))
    old = site.record()
    (ours,) = [key for key, _, _ in store.multiparts("up/") if key != likely]
    assert ours == f"up/{old.stored_as}"
    found = dict(site.state.storage.orphans(datetime(9999, 1, 1, tzinfo=UTC)))
    assert set(found) == {old.stored_as}
    assert found[old.stored_as]() >= 8 * 2**20
    assert [(key, multipart) for key, multipart, _ in store.multiparts("up/")] == [(likely, foreign)]
    site.tus.delete(f"/files/{ID}")
    site.tus.upload(b"abc")
    assert store.read(f"up/{ID}") == b"mine" and store.read(f"up/{site.record().stored_as}") == b"abc"
    assert site.tus.get(f"/files/{ID}").data == b"abc"


def test_late_parts_do_not_reach_the_next_upload_in_a_store(sites: Callable[..., Site]) -> None:
    """A put for a removed upload goes to an object of its own."""
    store = MemoryStore()
    storage = MultipartStorage(store, prefix="up/")
    site = sites(storage=storage, repository=MemoryRepository())
    site.tus.new(6)
    site.tus.patch(f"/files/{ID}", 0, b"old")
    old = site.record()
    with storage.writer(old, 3, old.fence) as late:
        site.tus.delete(f"/files/{ID}")
        site.tus.new(6)
        site.tus.patch(f"/files/{ID}", 0, b"new")
        late.write(b"xxx")
        late.flush()
    site.state.service.discard_stray(old)
    assert site.tus.patch(f"/files/{ID}", 3, b"456").status_code == 204
    assert site.tus.get(f"/files/{ID}").data == b"new456"
    assert store.kept() == {f"up/{site.record().stored_as}"}


def test_commands_take_the_id(site: Site) -> None:
    """As they take any other."""
    site.tus.upload(b"abc")
    runner = site.app.test_cli_runner()
    assert json.loads(runner.invoke(args=["tus", "show", ID]).output)["id"] == ID
    assert runner.invoke(args=["tus", "verify"]).exit_code == 0
    assert runner.invoke(args=["tus", "delete", ID]).exit_code == 0
    assert site.files() == {}
