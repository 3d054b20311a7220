"""What an app does with uploads outside of hooks: get, list, delete, and tell where they are."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import abort
from flask import Flask
from flask import request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column

from flask_resumable import FlaskResumable
from flask_resumable import Upload
from flask_resumable import UploadRejected
from flask_resumable.models import SQLAlchemyModel
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import Headers
from tests.conformance.tus_client import PARTIAL
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample

from .kinds import MONGO
from .kinds import SQL
from .kinds import VIEWS
from .kinds import wiring

KINDS = [*VIEWS, *SQL, *(pytest.param(kind, marks=pytest.mark.xdist_group("mongo")) for kind in MONGO)]


class Uploads(FlaskResumable):
    """Writes down what is called."""

    def __init__(self, **wiring: Any) -> None:
        self.called: list[str] = []
        self.during: Callable[[str, Upload], object] = lambda name, upload: None
        super().__init__(**wiring)

    def current_owner(self) -> Any:
        return request.headers.get("X-Owner")

    def on_complete(self, upload: Upload) -> None:
        self._call("on_complete", upload)

    def pre_delete(self, upload: Upload) -> None:
        self._call("pre_delete", upload)

    def post_delete(self, upload: Upload) -> None:
        self._call("post_delete", upload)

    def _call(self, name: str, upload: Upload) -> None:
        self.called.append(name)
        self.during(name, upload)


class Site:
    """An app, its extension and a client."""

    def __init__(self, app: Flask, uploads: Uploads) -> None:
        self.app = app
        self.uploads = uploads
        self.tus = Tus(app.test_client())
        self.flow = Flow(app.test_client())

    def begin(self, owner: str | None = None, headers: Headers | None = None) -> str:
        """Create an upload of five bytes; its id."""
        created = self.tus.request("POST", headers={"Upload-Length": "5", "X-Owner": owner, **(headers or {})})
        return created.headers["Location"].rpartition("/")[2]

    def upload(self, owner: str | None = None, headers: Headers | None = None) -> str:
        """Upload them; its id."""
        upload_id = self.begin(owner, headers)
        done = self.tus.with_headers(X_Owner=owner).patch(f"/files/{upload_id}", 0, b"hello")
        assert done.status_code == 204
        return upload_id

    def files(self) -> list[str]:
        """What holds bytes of uploads."""
        folder = Path(self.app.instance_path, "uploads")
        return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, app: Flask, tmp_path: Path) -> Iterator[Site]:
    """The app on each kind of state."""
    uri = request.getfixturevalue("mongo").uri if request.param in MONGO else None
    with wiring(request.param, app, tmp_path, uri) as arguments:
        uploads = Uploads(**arguments)
        uploads.init_app(app)
        yield Site(app, uploads)


def test_an_upload_is_found_by_its_id(site: Site) -> None:
    """Finished or not, with its bytes; what is no id, or of no upload, finds nothing."""
    done, begun = site.upload("7"), site.begin()
    with site.app.app_context():
        upload = site.uploads.get(done)
        assert upload is not None
        assert (upload.id, upload.complete, upload.owner, upload.length) == (done, True, "7", 5)
        with upload.open() as stream:
            assert stream.read() == b"hello"
        assert upload.digest("md5") == upload.md5 == "5d41402abc4b2a76b9719d911017c592"
        assert upload.digest("crc32") == "3610a686"
        assert not upload.is_busy
        other = site.uploads.get(begun)
        assert other is not None and (other.status, other.offset, other.owner) == ("active", 0, None)
        for wrong in ("0" * 32, "", "x", "../etc/passwd", "\0" * 32, done.upper() + "0"):
            assert site.uploads.get(wrong) is None


def test_uploads_are_listed_one_by_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, page by page, or those of an owner or a status; parts of others only if they are asked for."""
    monkeypatch.setattr("flask_resumable.extension._PAGE", 2)
    mine = sorted(site.upload("7") for _ in range(3))
    others = sorted(site.upload() for _ in range(2))
    begun = site.begin("7")
    part = site.upload("7", PARTIAL)

    def found(**wanted: Any) -> list[str]:
        return [upload.id for upload in site.uploads.uploads(**wanted)]

    with site.app.app_context():
        everything = sorted([*mine, *others, begun])
        assert found() == everything
        assert found(parts=True) == sorted([*everything, part])
        assert found(limit=3) == everything[:3]
        assert found(limit=3, after=everything[2]) == everything[3:]
        assert found(limit=0) == []
        assert found(owner="7", status="complete") == mine
        assert found(owner=7) == sorted([*mine, begun])  # as current_owner takes it
        assert found(owner=None) == others
        assert found(status="active") == [begun]
        with pytest.raises(ValueError, match="active, finishing, complete"):
            site.uploads.uploads(status="completed")
        with pytest.raises(TypeError):
            site.uploads.uploads(owner=object())


def test_all_can_be_deleted_while_they_are_listed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop over all uploads may remove each that it meets."""
    monkeypatch.setattr("flask_resumable.extension._PAGE", 2)
    for _ in range(5):
        site.upload()
    with site.app.app_context():
        assert [site.uploads.delete(upload) for upload in site.uploads.uploads()] == [True] * 5
        assert [*site.uploads.uploads()] == []
    assert site.files() == []


def test_deleting_is_what_a_client_does(site: Site) -> None:
    """Record and bytes go, hooks are called; the second time there is nothing to delete."""
    upload_id = site.upload("7")
    site.uploads.called.clear()
    with site.app.app_context():
        assert site.uploads.delete(upload_id) is True
        assert site.uploads.called == ["pre_delete", "post_delete"]
        assert site.uploads.get(upload_id) is None
        assert site.uploads.delete(upload_id) is False
        assert site.uploads.delete("nothing") is False
    assert site.files() == []
    assert site.tus.with_headers(X_Owner="7").head("/files/" + upload_id).status_code == 404
    assert site.uploads.called == ["pre_delete", "post_delete"]


def test_a_client_that_is_sending_is_interrupted(site: Site) -> None:
    """Deleting does not wait for content that is on its way; what comes late is refused and leaves nothing."""
    upload_id = site.begin()
    has_begun, is_deleted = threading.Event(), threading.Event()
    body = Body(b"he", has_begun.set, lambda: is_deleted.wait(20), b"llo")
    answers: list[int] = []

    def send() -> None:
        answers.append(site.tus.patch(f"/files/{upload_id}", 0, body, announced=5).status_code)

    thread = threading.Thread(target=send)
    thread.start()
    assert has_begun.wait(20)
    with site.app.app_context():
        assert site.uploads.delete(upload_id) is True
        assert site.uploads.get(upload_id) is None
    is_deleted.set()
    thread.join(20)
    assert answers == [423]
    assert site.files() == []
    assert site.uploads.called == ["pre_delete", "post_delete"]


def test_a_hook_may_keep_an_upload(site: Site) -> None:
    """If pre_delete refuses, all is as it was, and whoever wanted to delete is told."""
    upload_id = site.upload()

    def refuse(name: str, upload: Upload) -> None:
        raise UploadRejected(409, "It is in use.")

    site.uploads.during = refuse
    with site.app.app_context():
        with pytest.raises(UploadRejected, match="in use") as refused:
            site.uploads.delete(upload_id)
        assert refused.value.status == 409
        assert site.uploads.get(upload_id) is not None
    assert site.files() == [upload_id]
    site.uploads.during = lambda name, upload: None
    with site.app.app_context():
        assert site.uploads.delete(upload_id)


def test_a_hook_cannot_delete_its_own_upload(site: Site) -> None:
    """Deleting says at once what to do instead, and the upload is completed. Others can be deleted."""
    other = site.upload()
    outcome: list[object] = []

    def delete(name: str, upload: Upload) -> None:
        with pytest.raises(RuntimeError, match="raise UploadRejected"):
            site.uploads.delete(upload.id)
        if name == "on_complete":
            outcome.append(site.uploads.delete(other))

    site.uploads.during = delete
    upload_id = site.upload()
    assert outcome == [True]
    assert site.files() == [upload_id]
    with site.app.app_context():
        assert [upload.status for upload in site.uploads.uploads()] == ["complete"]


def test_late_chunks_do_not_bring_a_deleted_file_back(site: Site) -> None:
    """An upload of flow.js leaves a tombstone when the app deletes it, as when the client does."""
    sample = Sample(b"0123456789", 5)
    with site.app.app_context():
        (upload_id,) = (site.flow.post(sample, 1).get_json()["id"],)
        assert site.uploads.delete(upload_id)
        assert site.uploads.get(upload_id) is None
        assert [*site.uploads.uploads()] == []
        assert [upload.id for upload in site.uploads.uploads(status="gone")] == [upload_id]
    assert site.flow.post(sample, 2).status_code == 404


def test_urls_are_told_within_a_request(site: Site) -> None:
    """The endpoint and an upload's URL, below the app's root, for either protocol."""

    @site.app.get("/urls/<upload_id>")
    def urls(upload_id: str) -> Any:
        upload = site.uploads.get(upload_id) or abort(404)
        told = site.uploads.url_for
        return {
            "endpoint": told(),
            "upload": told(upload),
            "by id": told(upload_id),
            "flow": told(protocol="flow"),
            "flow upload": told(upload, protocol="flow"),
            "full": told(upload, _external=True),
        }

    upload_id = site.upload()
    found = site.app.test_client().get(f"/urls/{upload_id}", environ_overrides={"SCRIPT_NAME": "/below"})
    assert found.json == {
        "endpoint": "/below/files/",
        "upload": f"/below/files/{upload_id}",
        "by id": f"/below/files/{upload_id}",
        "flow": "/below/flow/",
        "flow upload": f"/below/flow/{upload_id}",
        "full": f"http://localhost/below/files/{upload_id}",
    }
    assert site.flow.open("GET", path=upload_id).get_json()["complete"] is True


def test_only_what_is_served_has_a_url(app: Flask) -> None:
    """Without tus, the URLs are those of flow.js; a protocol that is not served has none."""
    app.config.update(TUS_ENABLED=False, FLOW_UPLOAD_URL="/chunks/")
    resumable = FlaskResumable(app)
    with app.test_request_context():
        assert resumable.url_for() == "/chunks/"
        for protocol in ("tus", "ftp"):
            with pytest.raises(ValueError, match="this app serves flow"):
                resumable.url_for(protocol=protocol)


def test_one_object_tells_the_uploads_of_each_app(tmp_path: Path) -> None:
    """What is asked is about the current app; without one, or in an app without the extension, it says what to do."""
    resumable = FlaskResumable[Upload]()
    ids: list[str] = []
    apps = [Flask(name, instance_path=str(tmp_path / name)) for name in ("one", "two")]
    for app in apps:
        resumable.init_app(app)
        created = Tus(app.test_client()).request("POST", headers={"Upload-Length": "5"})
        ids.append(created.headers["Location"].rpartition("/")[2])
    for app, own, other in zip(apps, ids, reversed(ids), strict=True):
        with app.app_context():
            assert [upload.id for upload in resumable.uploads()] == [own]
            assert resumable.get(other) is None
            assert resumable.delete(other) is False
    with pytest.raises(RuntimeError, match="context"):
        resumable.get(ids[0])
    with Flask("three").app_context(), pytest.raises(RuntimeError, match="call init_app"):
        resumable.get(ids[0])


def test_a_view_needs_one_connection(app: Flask, tmp_path: Path) -> None:
    """With a pool of one, a view that has a transaction open can get, list and delete; what it wrote is kept."""
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.sqlite'}"
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}
    db = SQLAlchemy(app)

    class Note(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    resumable = FlaskResumable(app, model=SQLAlchemyModel, db=db)
    with app.app_context():
        db.create_all()

    @app.delete("/uploads/<upload_id>")
    def remove(upload_id: str) -> Any:
        db.session.add(Note(id=1))
        db.session.flush()
        upload = resumable.get(upload_id) or abort(404)
        assert upload in db.session
        assert [upload] == [*resumable.uploads()]
        return {"deleted": resumable.delete(upload)}

    client = app.test_client()
    upload_id = Tus(client).request("POST", headers={"Upload-Length": "5"}).headers["Location"].rpartition("/")[2]
    assert client.delete(f"/uploads/{upload_id}").json == {"deleted": True}
    with app.app_context():
        assert db.session.scalar(text("SELECT count(*) FROM note")) == 1
        assert resumable.get(upload_id) is None
        db.session.remove()
        db.engine.dispose()


def test_what_a_hook_writes_to_others_is_seen(app: Flask, tmp_path: Path) -> None:
    """In a hook, get returns the same instance as the hook has, with what it has written; all of it is committed."""
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.sqlite'}"
    db = SQLAlchemy(app)

    class Files(FlaskResumable):
        def on_complete(self, upload: Upload) -> None:
            assert self.get(upload.id) is upload
            seen.append([other.status for other in self.uploads()])

    seen: list[list[str]] = []
    Files(app, model=SQLAlchemyModel, db=db)
    tus = Tus(app.test_client())
    url = tus.request("POST", headers={"Upload-Length": "5"}).headers["Location"]
    assert tus.patch(url, 0, io.BytesIO(b"hello").read()).status_code == 204
    assert seen == [["complete"]]
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_limits_an_upload(request: pytest.FixtureRequest, app: Flask, tmp_path: Path, kind: str) -> None:
    """``on_create`` can set ``max_size`` on whatever it gets. It is there for later hooks, and enforced."""

    class Limiting(FlaskResumable):
        def on_create(self, upload: Upload) -> None:
            upload.max_size = 4

        def on_complete(self, upload: Upload) -> None:
            seen.append(upload.max_size)

    seen: list[int | None] = []
    uri = request.getfixturevalue("mongo").uri if kind in MONGO else None
    with wiring(kind, app, tmp_path, uri) as wired:
        Limiting(app=app, **wired)
        tus = Tus(app.test_client())
        assert tus.create(5).status_code == 413
        url = tus.new(None, {"Upload-Defer-Length": "1"})
        assert tus.patch(url, 0, b"12345").status_code == 413
        assert tus.patch(url, 0, b"1234", {"Upload-Length": "4"}).status_code == 204
        assert seen == [4]


@pytest.mark.parametrize("kind", KINDS)
def test_simultaneous_creations_stay_within_a_quota(
    request: pytest.FixtureRequest, app: Flask, tmp_path: Path, kind: str
) -> None:
    """Of the creations of one owner that come at the same time, as many succeed as the owner may have uploads."""

    class Owned(FlaskResumable):
        def current_owner(self) -> str:
            return "alice"

        def on_create(self, upload: Upload) -> None:
            pass

    uri = request.getfixturevalue("mongo").uri if kind in MONGO else None
    app.config["RESUMABLE_MAX_ACTIVE_UPLOADS"] = 3
    start = threading.Barrier(8)

    def create(number: int) -> int:
        start.wait()
        return Tus(app.test_client()).create(5).status_code

    with wiring(kind, app, tmp_path, uri) as wired:
        Owned(app=app, **wired)
        with ThreadPoolExecutor(8) as pool:
            statuses = sorted(pool.map(create, range(8)))
        assert statuses == [201] * 3 + [429] * 5
