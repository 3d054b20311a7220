"""tus from end to end over HTTP, on each database."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import mongoengine
import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.core.upload import MAX_LENGTH
from flask_resumable.models import MongoengineModel
from flask_resumable.models import SQLAlchemyModel

from .servers import DatabaseServer

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = "application/offset+octet-stream"


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Uploads(FlaskResumable):
    """Notes what on_complete sees."""

    seen: list[Any]

    def on_complete(self, upload: Any) -> None:
        self.seen.append((upload.id, upload.filename, dict(upload.metadata), upload.created_at, upload.md5))


@pytest.fixture
def clock() -> Clock:
    """The app's clock."""
    return Clock()


@pytest.fixture
def uploads(app: Flask, database: DatabaseServer, clock: Clock) -> Iterator[Uploads]:
    """The extension with the ready-made model of the database."""
    if database.uri.startswith("mongodb:"):
        mongoengine.connect(host=database.uri)
        MongoengineModel.drop_collection()
        uploads = Uploads(app, model=MongoengineModel, now=clock)
        uploads.seen = []
        yield uploads
        mongoengine.disconnect_all()
        return
    app.config["SQLALCHEMY_DATABASE_URI"] = database.uri
    db = SQLAlchemy(app)
    uploads = Uploads(app, model=SQLAlchemyModel, db=db, now=clock)
    uploads.seen = []
    with app.app_context():
        db.drop_all()
    yield uploads
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def client(app: Flask, uploads: Uploads) -> FlaskClient:
    """A client of the app."""
    return app.test_client()


def create(client: FlaskClient, **headers: str) -> str:
    """The URL of a new upload; header names have underscores."""
    response = client.post("/files/", headers={**TUS, **{name.replace("_", "-"): headers[name] for name in headers}})
    assert response.status_code == 201, response.text
    return f"/files/{response.headers['Location']}"


def patch(client: FlaskClient, url: str, offset: int, content: bytes, **headers: str) -> Any:
    """Send content."""
    more = {name.replace("_", "-"): headers[name] for name in headers}
    fields = {**TUS, "Upload-Offset": str(offset), "Content-Type": OCTETS, **more}
    return client.patch(url, data=content, headers=fields)


def test_an_upload_arrives(client: FlaskClient, uploads: Uploads, app: Flask, clock: Clock) -> None:
    """Create, send in two parts, ask in between; the file is there, and on_complete was called once."""
    url = create(client, Upload_Length="10", Upload_Metadata="filename YS50eHQ=")
    assert patch(client, url, 0, b"hello").headers["Upload-Offset"] == "5"
    assert client.head(url, headers=TUS).headers["Upload-Offset"] == "5"
    assert patch(client, url, 4, b"x").status_code == 409
    assert patch(client, url, 5, b"world").status_code == 204
    upload_id = url.rpartition("/")[2]
    assert Path(app.instance_path, "uploads", upload_id).read_bytes() == b"helloworld"
    ((seen_id, name, _, created_at, md5),) = uploads.seen
    assert (seen_id, name, md5) == (upload_id, "a.txt", hashlib.md5(b"helloworld").hexdigest())
    assert abs(created_at - clock.now) < timedelta(milliseconds=1)
    assert created_at.utcoffset() == timedelta(0)
    assert client.delete(url, headers=TUS).status_code == 204
    assert client.head(url, headers=TUS).status_code == 404


def test_an_upload_of_the_ietf_draft_arrives(client: FlaskClient, uploads: Uploads, app: Flask) -> None:
    """Kept open although every byte is there, and then completed; the last answer can be repeated."""
    draft = {"Upload-Draft-Interop-Version": "10", "Content-Type": "application/partial-upload"}
    headers = {**draft, "Upload-Complete": "?0", "Upload-Length": "5", "Content-Disposition": "inline; filename=a.txt"}
    url = "/files/" + client.post("/files/", headers=headers).headers["Location"]
    more = {**draft, "Upload-Complete": "?0", "Upload-Offset": "0"}
    assert client.patch(url, data=b"hello", headers=more).headers["Upload-Complete"] == "?0"
    asked = client.head(url, headers={"Upload-Draft-Interop-Version": "10"})
    assert (asked.headers["Upload-Offset"], asked.headers["Upload-Complete"]) == ("5", "?0")
    assert uploads.seen == []
    for _ in range(2):
        last = client.patch(url, headers={**draft, "Upload-Complete": "?1", "Upload-Offset": "5"})
        assert (last.status_code, last.headers["Upload-Complete"]) == (200, "?1")
    ((seen_id, name, *_),) = uploads.seen
    assert (url, name) == (f"/files/{seen_id}", "a.txt")
    assert Path(app.instance_path, "uploads", seen_id).read_bytes() == b"hello"


def test_checksums_parts_and_late_lengths_work(client: FlaskClient, uploads: Uploads, app: Flask) -> None:
    """The extensions of tus that change records: checksum, creation-defer-length, concatenation."""
    late = create(client, Upload_Defer_Length="1", Upload_Concat="partial")
    wrong = base64.b64encode(hashlib.sha1(b"other").digest()).decode()
    assert patch(client, late, 0, b"hello", Upload_Checksum=f"sha1 {wrong}").status_code == 460
    assert patch(client, late, 0, b"hello", Upload_Length="5").status_code == 204
    other = create(client, Upload_Length="5", Upload_Concat="partial")
    final = create(client, Upload_Concat=f"final;{late} {other}")
    assert uploads.seen == []
    assert patch(client, other, 0, b"world").status_code == 204
    assert [seen[0] for seen in uploads.seen] == [final.rpartition("/")[2]]
    assert client.head(final, headers=TUS).headers["Upload-Length"] == "10"
    assert Path(app.instance_path, "uploads", final.rpartition("/")[2]).read_bytes() == b"helloworld"


def test_what_has_expired_is_removed(client: FlaskClient, uploads: Uploads, app: Flask, clock: Clock) -> None:
    """410 to the second when the time is over; then the command removes it, and nothing else."""
    url = create(client, Upload_Length="10")
    done = create(client, Upload_Length="0")
    clock.now += timedelta(days=1, milliseconds=-1)
    assert client.head(url, headers=TUS).status_code == 200
    clock.now += timedelta(milliseconds=1)
    assert client.head(url, headers=TUS).status_code == 410
    result = app.test_cli_runner().invoke(args=["tus", "delete_expired"])
    assert "Uploads removed: 1," in result.output, result.output
    assert client.head(url, headers=TUS).status_code == 404
    assert client.head(done, headers=TUS).status_code == 200


def test_the_largest_length_fits(client: FlaskClient) -> None:
    """2^63-1 bytes can be announced and are told back; one more is refused as a bad number. A new upload of that length
    would be refused for lack of space.
    """
    url = create(client, Upload_Defer_Length="1")
    assert patch(client, url, 0, b"a", Upload_Length=str(MAX_LENGTH)).status_code == 204
    assert client.head(url, headers=TUS).headers["Upload-Length"] == str(MAX_LENGTH)
    response = client.post("/files/", headers={**TUS, "Upload-Length": str(MAX_LENGTH + 1)})
    assert response.status_code == 400


@pytest.mark.everywhere
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("filename", b"nul\x00.txt"),
        ("filename", "lone \ud800 surrogate".encode(errors="surrogatepass")),
        ("filename", b"\xff\xfe not UTF-8"),
        ("filename", "four bytes: \U0001f642".encode()),
        ("$set", b"1"),
        ("a.b.$[]", b"1"),
        ("__proto__", b"\r\nX: y"),
    ],
    ids=["nul", "surrogate", "not utf-8", "emoji", "dollar", "dots", "line break"],
)
def test_no_metadata_is_too_strange(client: FlaskClient, uploads: Uploads, key: str, value: bytes) -> None:
    """What databases choke on comes back as it was sent, and reaches the hooks as text."""
    header = f"{key} {base64.b64encode(value).decode()}"
    url = create(client, Upload_Length="5", Upload_Metadata=header)
    assert client.head(url, headers=TUS).headers["Upload-Metadata"] == header
    assert patch(client, url, 0, b"hello").status_code == 204
    assert uploads.seen[0][2] == {key: value.decode("utf-8", "replace")}


def test_ids_are_told_apart_by_case_and_blanks(client: FlaskClient) -> None:
    """A database may take 'A' for 'a' and drop blanks; no upload is found by another name than its own."""
    url = create(client, Upload_Length="5")
    while url == url.upper().replace("/FILES/", "/files/"):
        url = create(client, Upload_Length="5")  # an id of digits only
    assert client.head(url.upper().replace("/FILES/", "/files/"), headers=TUS).status_code == 404
    assert client.head(url + "%20", headers=TUS).status_code == 404
    assert client.head(url, headers=TUS).status_code == 200


def test_flow_identifiers_are_told_apart_by_case_and_blanks(client: FlaskClient, app: Flask) -> None:
    """Three files whose identifiers differ in case or a blank only are three uploads."""
    for number, identifier in enumerate(("5-Photo", "5-photo", "5-photo ")):
        content = f"file{number}".encode()
        fields = {
            "flowChunkNumber": 1,
            "flowChunkSize": 1024,
            "flowCurrentChunkSize": 5,
            "flowTotalSize": 5,
            "flowTotalChunks": 1,
            "flowIdentifier": identifier,
            "flowFilename": "photo",
            "flowRelativePath": "photo",
        }
        url = app.extensions["resumable"].blueprints["flow"].url_prefix
        response = client.post(url, query_string=fields, data=content, content_type="application/octet-stream")
        assert response.status_code in (200, 201), response.text
    files = [path.read_bytes() for path in Path(app.instance_path, "uploads").glob("?" * 32)]
    assert sorted(files) == [b"file0", b"file1", b"file2"]
