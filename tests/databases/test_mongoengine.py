"""What is special to MongoEngine: the app's documents, its connections, and how safely they are written."""

from __future__ import annotations

import builtins
import logging
import sys
from collections.abc import Callable
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import mongoengine
import pymongo
import pymongo.collection
import pymongo.errors
import pymongo.monitoring
import pytest
from flask import Flask
from flask.testing import FlaskClient
from mongoengine.connection import ConnectionFailure

import flask_resumable.models
from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Status
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import Unavailable
from flask_resumable.errors import UploadExists
from flask_resumable.models import MongoengineBaseModel
from flask_resumable.models import MongoengineModel
from flask_resumable.repositories.mongo.repository import MongoengineRepository
from flask_resumable.testing import RepositoryContract
from flask_resumable.testing.samples import an_upload
from flask_resumable.testing.samples import claim_free
from flask_resumable.testing.samples import id_of
from flask_resumable.testing.samples import NOW
from flask_resumable.testing.samples import SOON

from .conftest import started
from .servers import DatabaseServer
from .servers import MongoWireAlone

pytestmark = pytest.mark.xdist_group("mongo")

TUS = {"Tus-Resumable": "1.0.0"}


class Album(mongoengine.Document):  # type: ignore[misc]
    """Something of the app's that uploads belong to."""

    name = mongoengine.StringField()


class Picture(MongoengineBaseModel):
    """A document of the app's."""

    album = mongoengine.ReferenceField(Album)
    tags = mongoengine.ListField(mongoengine.StringField(max_length=9))
    rating = mongoengine.IntField(default=3)
    meta = {"collection": "pictures", "indexes": ["rating"]}


class Print(mongoengine.Document):  # type: ignore[misc]
    """Goes with its picture."""

    picture = mongoengine.ReferenceField(Picture, reverse_delete_rule=mongoengine.CASCADE)


class Elsewhere(MongoengineBaseModel):
    """In another database, its indexes left to the app."""

    meta = {"collection": "elsewhere", "db_alias": "archive", "auto_create_index": False}


class Base(MongoengineBaseModel):
    """Documents of several kinds, in one collection."""

    meta = {"collection": "kinds", "allow_inheritance": True}


class Kind(Base):
    """One of them."""

    colour = mongoengine.StringField(default="red")


@pytest.fixture
def connected(mongo: DatabaseServer) -> Iterator[Any]:
    """The default connection, to an empty database."""
    client = mongoengine.connect(host=mongo.uri)
    for name in client.list_database_names():
        if name not in ("admin", "config", "local"):
            client.drop_database(name)
    yield client
    mongoengine.disconnect_all()


def _upload(client: FlaskClient, content: bytes = b"hello") -> str:
    headers = {**TUS, "Upload-Length": str(len(content)), "Upload-Metadata": "filename YS50eHQ="}
    created = client.post("/files/", headers=headers)
    assert created.status_code == 201, created.text
    url = f"/files/{created.headers['Location']}"
    headers = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert client.patch(url, data=content, headers=headers).status_code == 204
    return url


class TestUnacknowledged(RepositoryContract):
    """On a connection that does not ask for acknowledgement: the extension's own writes do all the same."""

    @pytest.fixture
    def repository(self, connected: Any, mongo: DatabaseServer) -> MongoengineRepository:
        mongoengine.disconnect_all()
        mongoengine.connect(host=f"{mongo.uri}&w=0")
        return MongoengineRepository(MongoengineModel)


class TestZones(RepositoryContract):
    """On a connection that gives times their zone, where the default gives none."""

    @pytest.fixture
    def repository(self, connected: Any, mongo: DatabaseServer) -> MongoengineRepository:
        mongoengine.disconnect_all()
        mongoengine.connect(host=f"{mongo.uri}&tz_aware=true")
        return MongoengineRepository(MongoengineModel)


def test_unacknowledged_connections_are_warned_of(
    connected: Any, mongo: DatabaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An app that connects with w=0 is told once that its own writes may be lost."""
    mongoengine.disconnect_all()
    mongoengine.connect(host=f"{mongo.uri}&w=0")
    repository = MongoengineRepository(MongoengineModel)
    with caplog.at_level(logging.WARNING):
        repository.add(an_upload(), until=None)
        repository.get(id_of(1))
    assert caplog.text.count("w=0") == 1


def test_the_ready_made_document_needs_nothing_else(app: Flask, connected: Any) -> None:
    """A connection and ``model=MongoengineModel`` are enough; the document offers what models offer."""
    FlaskResumable(app, model=MongoengineModel)
    _upload(app.test_client())
    with app.app_context():
        upload = MongoengineModel.objects.get()
        assert (upload.filename, dict(upload.metadata), upload.complete) == ("a.txt", {"filename": "a.txt"}, True)
        assert (upload.offset, upload.length, upload.status, upload.owner) == (5, 5, "complete", None)
        assert upload.md5 == "5d41402abc4b2a76b9719d911017c592"
        assert MongoengineModel.objects.get().digests == {"bytes": 5, "md5": upload.md5}
        with upload.open() as stream:
            assert upload.path.read_bytes() == stream.read() == b"hello"
        assert upload.created_on == upload.created_at
        assert abs(upload.created_on - datetime.now(UTC)) < timedelta(minutes=1)
    assert MongoengineModel._get_collection_name() == "resumable_uploads"


def test_md5_is_cleared_when_bytes_are_added(app: Flask, connected: Any) -> None:
    """Computed on demand, kept, and computed anew for other bytes."""
    FlaskResumable(app, model=MongoengineModel)
    client = app.test_client()
    url = f"/files/{client.post('/files/', headers={**TUS, 'Upload-Length': '5'}).headers['Location']}"
    digests = []
    for offset, content in ((0, b"he"), (2, b"llo")):
        headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        client.patch(url, data=content, headers=headers)
        assert MongoengineModel.objects.get().digests is None
        with app.app_context():
            digests.append(MongoengineModel.objects.get().md5)
        assert MongoengineModel.objects.get().digests["md5"] == digests[-1]
    assert digests == ["6f96cfdfe5ccc627cadf24b41725caa4", "5d41402abc4b2a76b9719d911017c592"]


def test_what_hooks_change_in_their_document_is_saved(app: Flask, connected: Any) -> None:
    """Fields of the app's are saved when the hook returns, also those changed in place; the extension's never are."""

    class Uploads(FlaskResumable[Picture]):
        def on_create(self, upload: Picture) -> None:
            assert (upload.rating, upload.tags, upload.status) == (3, [], "active")
            upload.album = Album(name="summer").save()
            upload.status = "complete"
            upload.offset = 99

        def post_save(self, upload: Picture) -> None:
            upload.tags.append("seen")

        def on_complete(self, upload: Picture) -> None:
            upload.tags.append("done")
            upload.rating = None

    Uploads(app, model=Picture)
    url = _upload(app.test_client())
    picture = Picture.objects.get()
    assert (picture.album.name, picture.tags, picture.rating) == ("summer", ["seen", "done"], 3)
    assert (picture.id, picture.offset, picture.status) == (url.rpartition("/")[2], 5, "complete")


def test_hooks_may_save_their_document_themselves(app: Flask, connected: Any) -> None:
    """``upload.save()`` in a hook saves the app's fields, and cannot run ahead of the upload's own state."""
    seen: list[str] = []

    class Uploads(FlaskResumable[Picture]):
        def on_complete(self, upload: Picture) -> None:
            upload.rating = 5
            upload.save()
            stored = Picture.objects.get(id=upload.id)
            seen.extend([stored.status, stored.rating])

    Uploads(app, model=Picture)
    _upload(app.test_client())
    assert seen == ["finishing", 5]
    assert (Picture.objects.get().status, Picture.objects.get().rating) == ("complete", 5)


def test_a_hook_that_fails_changes_nothing(app: Flask, connected: Any) -> None:
    """What a hook has changed in its document is dropped when it raises, and when it is not valid."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    calls: list[str] = []

    class Uploads(FlaskResumable[Picture]):
        def on_complete(self, upload: Picture) -> None:
            calls.append(upload.status)
            upload.rating = 1
            if len(calls) == 1:
                raise OSError("mail server is down")
            if len(calls) == 2:
                upload.tags.append("longer than nine")

    Uploads(app, model=Picture)
    client = app.test_client()
    created = client.post("/files/", headers={**TUS, "Upload-Length": "0"})
    assert created.status_code == 500
    (picture,) = Picture.objects
    assert (picture.rating, picture.status) == (3, "finishing")
    url = f"/files/{picture.id}"
    assert client.head(url, headers=TUS).status_code == 423  # try again later
    assert Picture.objects.get().rating == 3
    assert client.head(url, headers=TUS).status_code == 200
    assert (Picture.objects.get().rating, Picture.objects.get().tags) == (1, [])
    assert calls == ["complete"] * 3


@pytest.mark.parametrize("saves", [False, True])
def test_files_may_be_moved(app: Flask, connected: Any, tmp_path: Path, saves: bool) -> None:
    """A hook that moves its file and fails is called again; also if it has saved its document by itself."""
    tries: list[Path] = []

    class Uploads(FlaskResumable):
        def on_complete(self, upload: Any) -> None:
            tries.append(upload.move_to(tmp_path / "data" / f"{len(tries) // 2}"))
            assert upload.path == tries[-1] and upload.path.read_bytes() == b"hello"
            upload.tags = ["moved"]
            if saves:
                upload.save()
                assert "data" not in str(Picture.objects.get(id=upload.id).storage)
            if len(tries) < 3:
                raise RuntimeError("not yet")

    app.config["RESUMABLE_DOWNLOADS"] = True
    app.config["TESTING"] = False
    Uploads(app, model=Picture)
    client = app.test_client()
    created = client.post("/files/", headers={**TUS, "Upload-Length": "5"})
    url = f"/files/{created.headers['Location']}"
    headers = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert client.patch(url, data=b"hello", headers=headers).status_code == 500
    assert not any((tmp_path / "data").iterdir())
    assert client.head(url, headers=TUS).status_code == 423
    assert client.head(url, headers=TUS).status_code == 200
    assert [*(tmp_path / "data").iterdir()] == [tries[-1]] == [tmp_path / "data" / "1"]
    with client.get(url) as answer:
        assert answer.data == b"hello"
    with app.app_context():
        (picture,) = Picture.objects
        assert (picture.path, picture.tags) == (tries[-1], ["moved"])
    assert app.test_cli_runner().invoke(args=["tus", "verify"]).exit_code == 0
    assert client.delete(url, headers=TUS).status_code == 204
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_refusal_leaves_no_document(app: Flask, connected: Any) -> None:
    """An upload that on_create refuses is not there."""

    class Uploads(FlaskResumable[Picture]):
        def on_create(self, upload: Picture) -> None:
            upload.rating = 1
            raise UploadRejected(415, "No pictures of this kind.")

    Uploads(app, model=Picture)
    answer = app.test_client().post("/files/", headers={**TUS, "Upload-Length": "5"})
    assert (answer.status_code, answer.text) == (415, "No pictures of this kind.\n")
    assert Picture.objects.count() == 0


def test_references_follow_when_an_upload_is_removed(app: Flask, connected: Any) -> None:
    """A reverse_delete_rule of the app's holds, and post_delete still knows the document's fields."""
    seen: list[Any] = []

    class Uploads(FlaskResumable[Picture]):
        def on_complete(self, upload: Picture) -> None:
            upload.rating = 5
            Print(picture=upload).save()

        def post_delete(self, upload: Picture) -> None:
            seen.append((upload.filename, upload.rating))

    Uploads(app, model=Picture)
    client = app.test_client()
    url = _upload(client)
    assert client.delete(url, headers=TUS).status_code == 204
    assert (Picture.objects.count(), Print.objects.count(), seen) == (0, 0, [("a.txt", 5)])


def test_a_hook_that_loses_its_claim_saves_nothing(connected: Any) -> None:
    """If somebody else has taken the upload while the hook was working, neither state nor fields are saved."""
    repository = MongoengineRepository(Picture)
    claim = repository.add(an_upload(status=Status.FINISHING), until=NOW)

    def slow_hook(picture: Picture) -> None:
        picture.rating = 1
        repository.claim(id_of(1), now=NOW, until=SOON)

    with pytest.raises(ClaimLost):
        repository.save_with_hook(an_upload(status=Status.COMPLETE), claim, slow_hook, until=None)
    assert (Picture.objects.get().status, Picture.objects.get().rating) == ("finishing", 3)


def test_documents_may_be_of_several_kinds(connected: Any) -> None:
    """With ``allow_inheritance``, records carry their class, and hooks get an instance of it."""
    repository = MongoengineRepository(Kind)
    claim = repository.add(an_upload(), until=SOON)
    seen: list[Any] = []
    repository.save_with_hook(an_upload(), claim, lambda kind: seen.append((type(kind), kind.colour)), until=None)
    assert seen == [(Kind, "red")]
    assert isinstance(Base.objects.get(), Kind)


def test_newer_fields_are_no_trouble(connected: Any) -> None:
    """A record that a newer version has written can be read, and keeps what this one does not know."""
    repository = MongoengineRepository(Picture)
    claim = repository.add(an_upload(), until=SOON)
    collection = connected["test"]["pictures"]
    collection.update_one({}, {"$set": {"newer": 1}})
    repository.call(an_upload(), lambda picture: picture.tags.append("x"))
    repository.save(an_upload(received=ByteRanges.prefix(3)), claim, until=None)
    assert Picture.objects.get().offset == 3
    assert (collection.find_one()["newer"], collection.find_one()["tags"]) == (1, ["x"])


def test_indexes_are_made_once_when_first_used(connected: Any) -> None:
    """The first use makes them all, those of the app included; no later one asks again."""
    repository = MongoengineRepository(Picture)
    assert not connected["test"]["pictures"].index_information()
    repository.add(an_upload(), until=None)
    indexes = connected["test"]["pictures"].index_information()
    assert {key for index in indexes.values() for key, _ in index["key"]} == {
        "_id",
        "_cls" if "_cls" in str(indexes) else "_id",
        "client_key",
        "owner",
        "rating",
        "removable_at",
        "request_key",
        "claim_message",
        "status",
    }
    commands: list[str] = []

    class Listener(pymongo.monitoring.CommandListener):
        def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
            commands.append(event.command_name)

        def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None: ...

        def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None: ...

    host, port = connected.address
    mongoengine.disconnect()
    mongoengine.connect("test", host=host, port=port, event_listeners=[Listener()], uuidRepresentation="standard")
    claim = claim_free(repository)[1]
    repository.save(an_upload(), claim, until=None)
    repository.get(id_of(1))
    assert commands == ["findAndModify", "update", "find"]


def test_without_its_unique_index_nothing_is_served(connected: Any, mongo: DatabaseServer) -> None:
    """Where indexes are left to the app, uploads wait for them; two uploads by one key could be made otherwise."""
    mongoengine.connect("archive", alias="archive", host=mongo.uri)
    repository = MongoengineRepository(Elsewhere)
    archive = Elsewhere._get_db()["elsewhere"]
    for key in ("client_key", "request_key"):
        with pytest.raises(Unavailable, match=f"'{key}'.*ensure_indexes"):
            repository.add(an_upload(), until=None)
        archive.create_index(key, unique=True, sparse=True)
    archive.drop_indexes()
    Elsewhere.ensure_indexes()
    repository.add(an_upload(), until=None)
    assert connected["test"]["elsewhere"].count_documents({}) == 1 or Elsewhere.objects.count() == 1


def test_an_alias_without_a_connection_is_unavailable(app: Flask) -> None:
    """Until the app has connected, requests are answered with 503; then they are served."""
    FlaskResumable(app, model=MongoengineModel)
    assert app.test_client().post("/files/", headers={**TUS, "Upload-Length": "5"}).status_code == 503


@pytest.mark.parametrize(
    "settings",
    [
        {"MONGODB_SETTINGS": {"host": "URI", "tz_aware": True}},
        {"MONGODB_SETTINGS": [{"host": "URI", "alias": "default"}, {"host": "URI", "alias": "other"}]},
        {"MONGODB_SETTINGS": {"HOST": "127.0.0.1", "PORT": "PORT", "DB": "test", "uuidRepresentation": "standard"}},
        {"MONGODB_HOST": "URI"},
        {
            "MONGODB_HOST": "127.0.0.1",
            "MONGODB_PORT": "PORT",
            "MONGODB_DB": "test",
            "MONGODB_UUIDREPRESENTATION": "UUID",
        },
    ],
    ids=["dict", "list", "upper case", "uri", "keys"],
)
def test_settings_as_flask_mongoengine_takes_them(
    app: Flask, connected: Any, mongo: DatabaseServer, settings: dict[str, Any]
) -> None:
    """An alias that nobody has connected is connected from the app's settings, when it is first needed."""
    mongoengine.disconnect_all()
    app.config.update(_filled(settings, mongo))
    FlaskResumable(app, model=MongoengineModel)
    assert not mongoengine.connection._connections, "connected before a server could fork"
    _upload(app.test_client())
    assert MongoengineModel.objects.count() == 1


def _filled(settings: Any, mongo: DatabaseServer) -> Any:
    if isinstance(settings, dict):
        return {key: _filled(value, mongo) for key, value in settings.items()}
    if isinstance(settings, list):
        return [_filled(value, mongo) for value in settings]
    return {"URI": mongo.uri, "PORT": mongo.port, "UUID": "standard"}.get(settings, settings)


def test_a_connection_of_the_app_is_left_alone(app: Flask, connected: Any) -> None:
    """Settings do not replace what the app has connected."""
    app.config["MONGODB_SETTINGS"] = {"host": "mongodb://nowhere.invalid/other"}
    FlaskResumable(app, model=MongoengineModel)
    _upload(app.test_client())
    assert MongoengineModel.objects.count() == 1


def test_an_app_may_have_both_kinds_of_database(app: Flask, connected: Any) -> None:
    """Uploads can be in MongoDB while the rest of the app is in SQL."""
    from flask_sqlalchemy import SQLAlchemy

    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app)
    FlaskResumable(app, model=MongoengineModel)
    _upload(app.test_client())
    with app.app_context():
        db.engine.dispose()
    assert MongoengineModel.objects.count() == 1


def test_wrong_settings_stop_the_app(app: Flask) -> None:
    """What no connection can be made with is refused at start."""
    app.config["MONGODB_SETTINGS"] = {"db": "no such/name"}
    with pytest.raises(ConfigurationError, match="MONGODB_SETTINGS"):
        FlaskResumable(app, model=MongoengineModel)
    with pytest.raises(ConnectionFailure):
        mongoengine.get_connection()


def test_an_abstract_document_is_refused(app: Flask) -> None:
    """The base is to be subclassed."""
    with pytest.raises(ConfigurationError, match="abstract"):
        FlaskResumable(app, model=MongoengineBaseModel)


def test_a_missing_mongoengine_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for a document without MongoEngine is told what to install."""
    real_import = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "mongoengine":
            raise ModuleNotFoundError("No module named 'mongoengine'", name="mongoengine")
        return real_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "flask_resumable.models.mongoengine")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"Flask-Resumable\[mongoengine\]"):
        _ = flask_resumable.models.MongoengineModel


@pytest.fixture
def alone() -> Iterator[DatabaseServer]:
    """A server without replicas, where the driver repeats nothing by itself."""
    yield from started(MongoWireAlone)
    mongoengine.disconnect_all()


def test_a_dead_connection_costs_no_operation(alone: DatabaseServer) -> None:
    """When the server has been restarted, the first operation gets through all the same."""
    mongoengine.connect(host=alone.uri)
    repository = MongoengineRepository(MongoengineModel)
    claim = repository.add(an_upload(), until=SOON)
    acts: list[Callable[[], object]] = [
        lambda: repository.save(an_upload(received=ByteRanges.prefix(3)), claim, until=SOON),
        lambda: repository.add(an_upload(2), until=None),
        lambda: repository.get(id_of(1)),
    ]
    for act in acts:
        alone.kill()
        alone.start()
        act()
    assert repository.get(id_of(1)).offset == 3


def test_an_insertion_whose_answer_was_lost_is_one_insertion(
    alone: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the connection breaks behind an insertion, it is not taken for somebody else's when it is tried again."""
    mongoengine.connect(host=alone.uri)
    repository = MongoengineRepository(MongoengineModel)
    insert_one = pymongo.collection.Collection.insert_one

    def insert_and_break(collection: Any, document: Any) -> Any:
        monkeypatch.undo()
        insert_one(collection, document)
        raise pymongo.errors.AutoReconnect("connection closed")

    monkeypatch.setattr(pymongo.collection.Collection, "insert_one", insert_and_break)
    claim = repository.add(an_upload(), until=SOON)
    repository.save(an_upload(received=ByteRanges.prefix(3)), claim, until=None)
    with pytest.raises(UploadExists):
        repository.add(an_upload(), until=None)
