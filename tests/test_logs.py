"""What the package writes to the log: a line for each upload's end, and nothing that a client could forge."""

from __future__ import annotations

import ast
import json
import logging
from base64 import b64encode
from collections.abc import Callable
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import flask_resumable
from flask_resumable import FlaskResumable
from flask_resumable import Upload
from flask_resumable import UploadRejected
from flask_resumable.core.printable import printable
from flask_resumable.errors import InvalidRequest
from flask_resumable.errors import RemovalRefused
from flask_resumable.errors import StorageRefuses
from flask_resumable.errors import Unavailable
from flask_resumable.protocols.reply import Reply
from flask_resumable.protocols.responses import respond_to_error
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.service.cleanup import Cleaner
from flask_resumable.service.cleanup import Report
from flask_resumable.storage.multipart import log_refusal
from flask_resumable.storage.s3.errors import asking
from flask_resumable.storage.s3.errors import ClientError
from flask_resumable.storage.s3.errors import EndpointConnectionError
from flask_resumable.wsgi.first_reader import body_of
from flask_resumable.wsgi.first_reader import watch_input

HOSTILE = "x\n\r\u2028ERROR forged\x1b[2J\x9b1m\x00\x07\u202e\u2066\ud800\\n"
UPLOADS = "flask_resumable.uploads"
TUS = {"Tus-Resumable": "1.0.0"}


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Uploads(FlaskResumable):
    """The uploads of one owner, who may refuse them."""

    owner: str | None = "alice"
    refuses = False

    def current_owner(self) -> str | None:
        return self.owner

    def on_complete(self, upload: Upload) -> None:
        if self.refuses:
            raise UploadRejected(422, "no")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return Flask("app", instance_path=str(tmp_path))


@pytest.fixture
def uploads(app: Flask, clock: Clock) -> Uploads:
    return Uploads(app, now=clock)


@pytest.fixture
def client(app: Flask, uploads: Uploads) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[logging.LogRecord]]]:
    """The log records of uploads' ends."""
    with caplog.at_level(logging.DEBUG, logger=UPLOADS):
        yield lambda: [record for record in caplog.records if record.name == UPLOADS]


Lines = Callable[[], list[logging.LogRecord]]


def _create(client: FlaskClient, length: int, **headers: str) -> str:
    response = client.post("/files/", headers={**TUS, "Upload-Length": str(length), **headers})
    assert response.status_code == 201
    return response.headers["Location"].rpartition("/")[2]


def _patch(client: FlaskClient, upload_id: str, offset: int, content: bytes) -> int:
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return client.patch(f"/files/{upload_id}", headers=headers, data=content).status_code


def test_a_complete_upload_is_one_line_with_its_facts(client: FlaskClient, clock: Clock, lines: Lines) -> None:
    """Who uploaded how much in which time, in how many requests and how; for people and as attributes."""
    upload_id = _create(client, 6)
    for offset in (0, 2, 4):
        clock.pass_(1)
        assert _patch(client, upload_id, offset, b"ab") == 204
    (record,) = lines()
    assert (record.levelname, record.getMessage()) == (
        "INFO",
        f"Upload {upload_id} complete: received=6 size=6 seconds=3.000 requests=3 protocol=tus storage=main "
        "owner='alice'",
    )
    facts = {name.removeprefix("upload_"): value for name, value in vars(record).items() if name.startswith("upload_")}
    assert facts == {
        "id": upload_id,
        "event": "complete",
        "received": 6,
        "size": 6,
        "seconds": 3.0,
        "rate": 2.0,
        "requests": 3,
        "protocol": "tus",
        "storage": "main",
        "owner": "alice",
    }
    json.dumps(facts)


def test_chunks_are_requests_too(client: FlaskClient, lines: Lines) -> None:
    """Each chunk of flow.js counts once, also if it is sent twice."""
    query = {"flowIdentifier": "a", "flowFilename": "a", "flowTotalSize": 6, "flowChunkSize": 2, "flowTotalChunks": 3}
    for number in (3, 1, 1, 2):
        form = {**query, "flowChunkNumber": number, "file": (BytesIO(b"ab"), "blob")}
        assert client.post("/flow/", data=form).status_code == 200
    (record,) = lines()
    assert "requests=3 protocol=flow" in record.getMessage()


@pytest.mark.parametrize("cause", ["deleted", "expired", "refused"])
def test_an_upload_that_is_removed_is_one_line(
    app: Flask, uploads: Uploads, client: FlaskClient, clock: Clock, lines: Lines, cause: str
) -> None:
    """The line says why."""
    uploads.refuses = cause == "refused"
    upload_id = _create(client, 4)
    assert _patch(client, upload_id, 0, b"ab") == 204
    if cause == "deleted":
        assert client.delete(f"/files/{upload_id}", headers=TUS).status_code == 204
    elif cause == "expired":
        clock.pass_(90_000)
        app.test_cli_runner().invoke(args=["tus", "delete_expired"])
    else:
        assert _patch(client, upload_id, 2, b"ab") == 422
    first, *rest = [record.getMessage() for record in lines()]
    received = 4 if cause == "refused" else 2
    assert first.startswith(f"Upload {upload_id} {cause}: received={received} size=4 ")
    assert [line.partition(",")[0] for line in rest] == (
        ["Cleaned up: 1 uploads and 0 orphans removed"] if cause == "expired" else []
    )


def test_parts_are_logged_in_detail_only(client: FlaskClient, lines: Lines) -> None:
    """A final upload is one line at INFO. The parts that it was made of are for debugging."""
    part = _create(client, 2, **{"Upload-Concat": "partial"})
    assert _patch(client, part, 0, b"ab") == 204
    final = {**TUS, "Upload-Concat": f"final;/files/{part}"}
    assert client.post("/files/", headers=final).status_code == 201
    assert [record.levelname for record in lines()] == ["DEBUG", "INFO"]


def test_nothing_is_prepared_that_nobody_reads(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    """The line costs nothing if the app does not log at INFO."""
    with caplog.at_level(logging.WARNING, logger=UPLOADS):
        _create(client, 0)
    assert not [record for record in caplog.records if record.name == UPLOADS]


# --- what clients say ---


def _check(caplog: pytest.LogCaptureFixture) -> None:
    assert caplog.records
    for record in caplog.records:
        assert record.getMessage().isprintable(), record.getMessage()


@pytest.mark.parametrize("text", ["plain", "Grüße 🙂", "日本"])
def test_what_is_harmless_stays_readable(text: str) -> None:
    """Only what could break a line, hide or command a terminal is escaped."""
    assert printable(text) == text


def test_escapes_cannot_be_forged() -> None:
    """Different texts look different, and none has a character that cannot be seen."""
    assert printable("a\nb") != printable("a\\nb")
    assert printable(HOSTILE).isprintable()


def test_owners_and_metadata_cannot_forge_a_line(
    uploads: Uploads, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A hostile owner is escaped; a name is not logged."""
    uploads.owner = HOSTILE.replace("\0", "").replace("\ud800", "")
    name = b64encode(b"x\nERROR forged\x1b[2J").decode()
    with caplog.at_level(logging.DEBUG, logger="flask_resumable"):
        _create(client, 0, **{"Upload-Metadata": f"filename {name}"})
    _check(caplog)


REFUSALS: dict[str, Callable[[str], Exception]] = {
    "refused": lambda text: ClientError({"Error": {"Code": "SlowDown", "Message": text}}, "PutObject"),
    "gone": lambda text: EndpointConnectionError(endpoint_url=text),
    "broken": OSError,
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_stores_words_cannot_forge_a_line(
    caplog: pytest.LogCaptureFixture, refusal: Callable[[str], Exception]
) -> None:
    """A store may repeat a name, or say anything else."""
    with pytest.raises(Unavailable) as caught, asking("put_object", HOSTILE):
        raise refusal(HOSTILE)
    log_refusal("put_object", HOSTILE, refusal(HOSTILE))
    _check(caplog)
    assert caught.value.is_logged


def test_an_error_is_logged_once(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """If the storage has logged why it fails, the response to the request does not log it again."""
    with app.test_request_context("/files/"):
        with pytest.raises(StorageRefuses) as caught, asking("put_object", "key"):
            raise ClientError(
                {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "PutObject"
            )
        respond_to_error(caught.value, Reply(status=500))
    assert len(caplog.records) == 1


def test_a_request_cannot_forge_a_line(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Neither its path nor its method, when the database does not answer or the app has read the body."""
    environ = {
        "PATH_INFO": ("/files/" + HOSTILE).encode("utf-8", "replace").decode("latin-1"),
        "REQUEST_METHOD": "X\x1b[2J",
    }
    with app.test_request_context(data=b"abc", environ_overrides=environ) as context:
        respond_to_error(Unavailable(HOSTILE), Reply(status=503))
        watch_input(None, None)
        context.request.stream.read(1)
        with pytest.raises(InvalidRequest):
            body_of(context.request, timedelta(seconds=1))
    assert len(caplog.records) == 2
    _check(caplog)


class Referred(MemoryRepository):
    """A database that does not let go of a record, for a reason that names what is in it."""

    def rehearse_removal(self, upload: Any, claim: Any) -> None:
        if upload.owner == "kept":
            raise RemovalRefused(HOSTILE)

    def remove(self, upload: Any, claim: Any, hook: Any = None) -> None:
        raise RemovalRefused(HOSTILE)


@pytest.mark.parametrize("owner", ["kept", "left"])
def test_a_databases_words_cannot_forge_a_line(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, owner: str
) -> None:
    """When the cleaner may not remove a record, and when it may remove the bytes only."""
    app = Flask("app", instance_path=str(tmp_path))
    uploads = Uploads(app, repository=Referred(), now=clock)
    uploads.owner = owner
    _create(app.test_client(), 4)
    clock.pass_(90_000)
    with app.app_context():
        cleaner = Cleaner(app.extensions["resumable"].service, batch=9)
        for _ in cleaner.delete_expired(Report(), orphans_after=timedelta(1)):
            pass
    assert caplog.records
    _check(caplog)


# What may be logged as it is: numbers, and names that the package or the developer has made.
OWN = {
    "synchronous",
    "_LINE",
    "CAUSE",
    "claimed.upload.id",
    "done.id",
    "error.offset",
    "facts",
    "fault",  # names of types
    "final.id",
    "key",  # with %r
    "level",
    "method",  # printable, see above
    "model.__table__.name",
    "moved.id",
    "name",
    "names",
    "operation",
    "path",  # printable, see above
    "relationship",
    "run.bytes",
    "run.failed",
    "run.orphans",
    "run.removed",
    "run.seconds",
    "self._name",  # has the upload's id
    "self._target",  # with %r
    "settings.s3_bucket",  # with %r
    "upload.id",
    "upload.length",
    "upload_id",
}


def _log_calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in Path(flask_resumable.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                is_log = node.func.attr in ("debug", "info", "warning", "error", "exception", "critical", "log")
                if is_log and "logger" in ast.unparse(node.func.value):
                    yield path, node


def test_every_log_call_escapes_what_others_say() -> None:
    """An argument that is not known to be harmless goes through ``printable``; messages are never put together."""
    calls = [*_log_calls()]
    assert len(calls) > 25
    for path, call in calls:
        for argument in _arguments(call):
            text = ast.unparse(argument)
            is_joined = text.startswith("', '.join(") and text.removeprefix("', '.join(").removesuffix(")") in OWN
            is_fine = isinstance(argument, ast.Constant) or text in OWN or text.startswith("printable(") or is_joined
            assert is_fine, f"{path.name}:{call.lineno}: {text}"


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    for node in call.args:
        if isinstance(node, ast.Starred) and isinstance(node.value, ast.Tuple):
            yield from node.value.elts
        else:
            yield node


def test_attributes_do_not_clash_with_those_of_log_records(client: FlaskClient, lines: Lines) -> None:
    """``extra`` may not contain the names that a log record has by itself, now or in a formatter."""
    own = {*vars(logging.makeLogRecord({})), "message", "asctime"}
    _create(client, 0)
    (record,) = lines()
    added = set(vars(record)) - own
    assert added and all(name.startswith("upload_") for name in added)
