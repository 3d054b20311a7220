"""Uploads in every state, begun by one version of the package and finished by another.

    python scenario.py begin KIND URI FOLDER
    python scenario.py finish KIND URI FOLDER

``KIND`` says what keeps the records: ``embedded``, ``model`` (SQLAlchemy) or ``document`` (MongoEngine). The version is
the one that Python finds. So this module uses nothing but the public API, and must keep working with old versions.
"""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import sys
import traceback
from collections.abc import Callable
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import mongoengine
from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import Flask
from flask import request
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Text
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from werkzeug.test import TestResponse

from flask_resumable import FlaskResumable
from flask_resumable.models import MongoengineBaseModel
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.storage import LocalStorage

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)  # when the uploads begin; clocks of later steps start from here
CONTENT = b"hello world"
HALF = 6  # bytes
CHUNKS = [b"0123456789", b"abcdefghij", b"ABCDEFGHIJ"]
TUS = {"Tus-Resumable": "1.0.0"}
DRAFT = {"Upload-Draft-Interop-Version": "8"}
OCTETS = {"Content-Type": "application/offset+octet-stream"}
PARTIAL = {"Content-Type": "application/partial-upload"}
ANSWER = {"from": "on_complete"}
REASON = "The picture cannot be read."


class Hooks(FlaskResumable[Any]):
    """Does what the metadata of an upload says. Hooks get columns of the app's only with a model."""

    fails = False  # whether hooks die and fail where the metadata says so

    def current_owner(self) -> str | None:
        return request.headers.get("X-User")

    def choose_id(self, upload: Any) -> str | None:
        return upload.metadata.get("id")  # type: ignore[no-any-return]

    def on_create(self, upload: Any) -> None:
        if self.fails and "dies" in upload.metadata:
            os._exit(0)
        upload.max_size = 1000

    def on_complete(self, upload: Any) -> dict[str, str] | None:
        if self.fails and "fails" in upload.metadata:
            raise RuntimeError("The app's own service is down.")
        if "moves" in upload.metadata:
            upload.move_to(f"moved/{upload.filename}")
        if self.model is not None:
            upload.note = f"{upload.filename}: {upload.digest('md5')}"
        return ANSWER if "answers" in upload.metadata else None


class DyingStorage(LocalStorage):
    """Ends the process instead of removing bytes."""

    def delete(self, upload: Any) -> None:
        os._exit(0)


class DyingBody:
    """Ends the process after the first half."""

    def __init__(self) -> None:
        self._was_read = False

    def read(self, size: int = -1) -> bytes:
        if self._was_read:
            os._exit(0)
        self._was_read = True
        return CONTENT[:HALF]


def make_app(kind: str, uri: str, folder: Path, now: Callable[[], datetime], **more: Any) -> tuple[Flask, Hooks]:
    """The app of one user of the package."""
    app = Flask("app", instance_path=str(folder / "instance"))
    app.config.update(
        SECRET_KEY="secret",
        PROPAGATE_EXCEPTIONS=False,
        RESUMABLE_UPLOAD_DIR=str(folder / "uploads"),
        RESUMABLE_MAX_RESERVED_BYTES=10_000,
        RESUMABLE_EXPIRATION=timedelta(days=1),
        RESUMABLE_DOWNLOADS=True,
    )
    storage = more.pop("storage", None)
    app.config.update(more)
    wiring: dict[str, Any] = {}
    if kind == "embedded":
        app.config["RESUMABLE_DATABASE_URI"] = uri
    elif kind == "model":
        wiring = _model(app, uri)
    else:

        class Document(MongoengineBaseModel):
            note = mongoengine.StringField()
            meta = {"collection": "upload"}

        mongoengine.disconnect()
        mongoengine.connect(host=uri)
        wiring = {"model": Document}
    resumable = Hooks(app, now=now, storage=storage, **wiring)
    return app, resumable


def _model(app: Flask, uri: str) -> dict[str, Any]:
    class Base(DeclarativeBase):
        pass

    app.config["SQLALCHEMY_DATABASE_URI"] = uri
    db: Any = SQLAlchemy(app, model_class=Base)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc]
        note: Mapped[str | None] = mapped_column(Text)

    return {"model": Upload, "db": db}


def migrate(app: Flask, resumable: Hooks) -> None:
    """What users of a model do when they upgrade: create the table, or add what it lacks, as Alembic would."""
    if "sqlalchemy" not in app.extensions:
        return
    db = app.extensions["sqlalchemy"]
    with app.app_context(), db.engine.begin() as connection:
        context = MigrationContext.configure(connection)
        found = produce_migrations(context, db.metadata)
        assert found.upgrade_ops is not None
        todo = list(found.upgrade_ops.ops)
        while todo:
            operation = todo.pop(0)
            todo[:0] = getattr(operation, "ops", ())
            if not hasattr(operation, "ops"):
                Operations(context).invoke(operation)


def metadata(**values: str) -> dict[str, str]:
    """The header for some metadata."""
    return {
        "Upload-Metadata": ",".join(f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in values.items())
    }


def expect(response: TestResponse, status: int) -> TestResponse:
    """Check a status."""
    assert response.status_code == status, f"{response.request.method} {response.request.path}: {response.text}"
    return response


def create(client: FlaskClient, length: int | None = len(CONTENT), said: Any = None, **headers: str) -> str:
    """Create an upload with tus; its URL."""
    sized = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.post("/files/", headers={**TUS, **sized, **metadata(filename="a.txt", **(said or {})), **named})
    return "/files/" + expect(response, 201).headers["Location"].rpartition("/")[2]


def append(client: FlaskClient, url: str, content: bytes, start: int = 0, **headers: str) -> TestResponse:
    """Send content with tus."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.patch(url, data=content, headers={**TUS, **OCTETS, "Upload-Offset": str(start), **named})


def chunk(client: FlaskClient, number: int, name: str) -> TestResponse:
    """Send a chunk with flow.js."""
    form = {
        "flowIdentifier": f"30-{name}",
        "flowFilename": name,
        "flowTotalSize": "30",
        "flowTotalChunks": "3",
        "flowChunkSize": "10",
        "flowChunkNumber": str(number),
    }
    content = CHUNKS[number - 1]
    return client.post("/flow/", data={**form, "file": (io.BytesIO(content), name)})


def _get(resumable: Hooks, upload_id: str) -> Any:
    """An upload, with the columns of the app if there are any."""
    return resumable.get(upload_id)


def in_process_that_dies(work: Callable[[], object]) -> None:
    """Do something that ends the process, in one that has not used a database yet."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            print("The process should have ended before this.", file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def begin(kind: str, uri: str, folder: Path) -> None:
    """Leave uploads in every state, and ``uploads.json`` with their URLs."""
    repeatable()
    notes = folder / "uploads.json"
    urls: dict[str, str] = {}

    def note(name: str, url: str) -> None:
        urls[name] = url
        notes.write_text(json.dumps(urls, indent=2) + "\n")

    def wired(**more: Any) -> tuple[Flask, Hooks, FlaskClient]:
        app, resumable = make_app(kind, uri, folder, lambda: NOW, **more)
        resumable.fails = True
        return app, resumable, app.test_client()

    def dies_in_on_create() -> None:
        create(wired()[2], said={"id": "new", "dies": "1"})

    def dies_receiving() -> None:
        client = wired()[2]
        url = create(client, said={"id": "receiving"})
        environ = {"wsgi.input": DyingBody(), "CONTENT_LENGTH": str(len(CONTENT))}
        client.patch(url, headers={**TUS, **OCTETS, "Upload-Offset": "0"}, environ_overrides=environ)

    def dies_removing() -> None:
        client = wired(storage=DyingStorage(folder / "uploads"))[2]
        url = create(client, said={"id": "deleting"})
        expect(append(client, url, CONTENT[:HALF]), 204)
        client.delete(url, headers=TUS)

    def prepare() -> None:
        app, resumable = make_app(kind, uri, folder, lambda: NOW)
        migrate(app, resumable)
        os._exit(0)

    in_process_that_dies(prepare)
    for name, work in [("new", dies_in_on_create), ("receiving", dies_receiving), ("deleting", dies_removing)]:
        in_process_that_dies(work)
        note(name, f"/files/{name}")

    app, resumable, client = wired()
    note("active", create(client))
    expect(append(client, urls["active"], CONTENT[:HALF]), 204)
    note("empty", create(client))
    note("unknown length", create(client, None))
    expect(append(client, urls["unknown length"], CONTENT[:HALF]), 204)
    note("owned", create(client, X_User="7"))
    expect(append(client, urls["owned"], CONTENT[:HALF], X_User="7"), 204)
    note("repeated", create(client, Idempotency_Key="a-key"))
    with app.test_request_context():
        note("token", resumable.sign(owner="8", expires=timedelta(days=400)))
    note("signed", create(client, Upload_Token=urls["token"]))

    note("part", create(client, HALF, Upload_Concat="partial"))
    expect(append(client, urls["part"], CONTENT[:HALF]), 204)
    note("open part", create(client, len(CONTENT) - HALF, Upload_Concat="partial"))
    expect(append(client, urls["open part"], CONTENT[HALF:-1]), 204)
    final = client.post(
        "/files/",
        headers={
            **TUS,
            **metadata(filename="final.txt"),
            "Upload-Concat": f"final;{urls['part']} {urls['open part']}",
        },
    )
    note("final", "/files/" + expect(final, 201).headers["Location"].rpartition("/")[2])

    note("finishing", create(client, said={"fails": "1"}))
    expect(append(client, urls["finishing"], CONTENT), 500)
    note("complete", create(client, said={"answers": "1"}))
    expect(append(client, urls["complete"], CONTENT), 200)
    with app.app_context():
        found = _get(resumable, urls["complete"].rpartition("/")[2])
        found.digest("sha1")
        resumable.mark(found, "failed", REASON)
    note("moved", create(client, said={"moves": "1"}))
    expect(append(client, urls["moved"], CONTENT), 204)

    expect(chunk(client, 1, "in-place.bin"), 200)
    note("in place", chunk(client, 3, "in-place.bin").json["id"])  # type: ignore[index]
    expect(chunk(client, 2, "flow.bin"), 200)
    note("gone", chunk(client, 1, "flow.bin").json["id"])  # type: ignore[index]
    expect(client.delete(f"/flow/{urls['gone']}"), 204)

    opened = client.post("/files/", data=CONTENT[:HALF], headers={**DRAFT, "Upload-Complete": "?0"})
    note("draft", "/files/" + expect(opened, 201).headers["Location"].rpartition("/")[2])
    opened = client.post(
        "/files/",
        data=CONTENT,
        headers={**DRAFT, "Upload-Complete": "?0", "Upload-Length": str(len(CONTENT))},
    )
    note("draft, all bytes", "/files/" + expect(opened, 201).headers["Location"].rpartition("/")[2])

    _, _, client = wired(FLOW_TEMP_DIR=str(folder / "chunks"))
    expect(chunk(client, 3, "folder.bin"), 200)
    note("in folder", chunk(client, 1, "folder.bin").json["id"])  # type: ignore[index]


def repeatable() -> None:
    """Let every run choose the same ids and names."""
    count = iter(range(1, 1_000_000))
    secrets.token_bytes = lambda nbytes=None: next(count).to_bytes(nbytes or 16, "big")
    secrets.token_hex = lambda nbytes=None: next(count).to_bytes(nbytes or 16, "big").hex()


def finish(kind: str, uri: str, folder: Path) -> None:
    """Finish each of the uploads as its client would, and clean up."""
    urls = json.loads((folder / "uploads.json").read_text())
    now = [NOW + timedelta(minutes=2)]  # claims of dead processes have expired
    app, resumable = make_app(kind, uri, folder, lambda: now[0])
    migrate(app, resumable)
    client = app.test_client()
    ids = {name: url.rpartition("/")[2] for name, url in urls.items()}
    with app.app_context():
        statuses = {name: _get(resumable, ids[name]).status for name in ("active", "final", "finishing", "complete")}
    assert statuses == {"active": "active", "final": "active", "finishing": "finishing", "complete": "complete"}

    def offset(name: str, **headers: str) -> int:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return int(expect(client.head(urls[name], headers={**TUS, **named}), 200).headers["Upload-Offset"])

    for name in ("active", "unknown length"):
        assert offset(name) == HALF, name
    for name in ("new", "empty", "repeated"):
        assert offset(name) == 0, name
        expect(append(client, urls[name], CONTENT), 204)
    assert create(client, Idempotency_Key="a-key") == urls["repeated"]
    received = offset("receiving")
    assert received in (0, HALF)  # what a process wrote before a reboot does not count
    expect(append(client, urls["receiving"], CONTENT[received:], received), 204)
    expect(append(client, urls["active"], CONTENT[HALF:], HALF), 204)
    expect(append(client, urls["unknown length"], CONTENT[HALF:], HALF, Upload_Length=str(len(CONTENT))), 204)
    expect(client.head(urls["owned"], headers=TUS), 404)
    assert offset("owned", X_User="7") == HALF
    expect(append(client, urls["owned"], CONTENT[HALF:], HALF, X_User="7"), 204)
    expect(append(client, urls["signed"], CONTENT, Upload_Token=urls["token"]), 204)

    assert offset("open part") == len(CONTENT) - HALF - 1
    expect(append(client, urls["open part"], CONTENT[-1:], len(CONTENT) - HALF - 1), 204)
    assert offset("final") == len(CONTENT)

    repeated = append(client, urls["complete"], b"", len(CONTENT))
    assert expect(repeated, 200).json == ANSWER
    for number in (2, 1):
        expect(chunk(client, number, "in-place.bin"), 200)
    expect(client.head(urls["deleting"], headers=TUS), 404)

    for name, rest in (("draft", CONTENT[HALF:]), ("draft, all bytes", b"")):
        asked = client.head(urls[name], headers=DRAFT)
        assert asked.headers["Upload-Complete"] == "?0" and asked.status_code == 204, name
        start = int(asked.headers["Upload-Offset"])
        assert start == len(CONTENT) - len(rest)
        headers = {**DRAFT, **PARTIAL, "Upload-Offset": str(start), "Upload-Complete": "?1"}
        assert client.patch(urls[name], data=rest, headers=headers).status_code in (200, 204), name

    other, _ = make_app(kind, uri, folder, lambda: now[0], FLOW_TEMP_DIR=str(folder / "chunks"))
    for number in (2, 3):
        expect(chunk(other.test_client(), number, "folder.bin"), 200)

    runner = app.test_cli_runner()
    assert runner.invoke(args=["tus", "complete_pending"]).exit_code == 0
    verified = runner.invoke(args=["tus", "verify"])
    assert verified.exit_code == 0, verified.output
    _check_contents(app, resumable, ids)
    now[0] += timedelta(days=3)
    cleaned = runner.invoke(args=["tus", "delete_expired", "--orphans-after", "0"])
    assert cleaned.exit_code == 0, cleaned.output
    with app.app_context():
        left = {upload.id: upload.status for upload in resumable.uploads()}
    assert set(left.values()) == {"complete"}, left
    assert set(left) == {ids[name] for name in FINISHED}
    unfinished = [path.name for path in folder.rglob("*") if path.is_file() and _is_unfinished(path)]
    assert unfinished == []
    print("finished", len(FINISHED))


FINISHED = (
    *("new", "receiving", "active", "empty", "unknown length", "owned", "repeated", "signed", "final", "finishing"),
    *("complete", "moved", "in place", "draft", "draft, all bytes", "in folder"),
)


def _is_unfinished(path: Path) -> bool:
    return ".partial" in path.parts or "chunks" in path.parts


def _check_contents(app: Flask, resumable: Hooks, ids: dict[str, str]) -> None:
    """Each upload is complete and whole; what the app had noted is still there."""
    with app.app_context():
        for name in FINISHED:
            upload = _get(resumable, ids[name])
            assert upload.complete, name
            with upload.open() as stream:
                assert stream.read() == (b"".join(CHUNKS) if name.startswith("in ") else CONTENT), name
            if resumable.model is not None:
                assert upload.note == f"{upload.filename}: {upload.digest('md5')}", name
        complete = _get(resumable, ids["complete"])
        assert (complete.processing_state, complete.processing_reason) == ("failed", REASON)
        assert (complete.filename, complete.max_size) == ("a.txt", 1000)
        assert _get(resumable, ids["owned"]).owner == "7" and _get(resumable, ids["signed"]).owner == "8"
        assert str(_get(resumable, ids["moved"]).path).endswith("moved/a.txt")


if __name__ == "__main__":
    {"begin": begin, "finish": finish}[sys.argv[1]](sys.argv[2], sys.argv[3], Path(sys.argv[4]))
