"""``flask tus ...``"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient

from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected
from flask_resumable.core.metadata import UploadMetadata
from flask_resumable.testing.samples import an_upload
from tests.memory_storage import LinkedStorage

TUS = {"Tus-Resumable": "1.0.0"}


class Clock:
    """Time, as the test tells it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at the first of January."""
    return Clock()


@pytest.fixture
def client(app: Flask, clock: Clock) -> FlaskClient:
    """A client of an app with the extension."""
    FlaskResumable(app, now=clock)
    return app.test_client()


def _create(client: FlaskClient, content: bytes, length: int = 10) -> str:
    """An upload with some of its bytes; its id."""
    headers = {
        **TUS,
        "Upload-Length": str(length),
        "Upload-Metadata": "filename AxtbMW0=",
        "Content-Type": "application/offset+octet-stream",
    }
    response = client.post("/files/", data=content, headers=headers)
    assert response.status_code == 201
    return response.headers["Location"]


def _run(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["tus", *arguments])


def _run_apart(app: Flask, *arguments: str) -> Result:
    """The same with stdout and stderr apart, which click does by itself since 8.2."""
    options = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    return app.test_cli_runner(**options).invoke(args=["tus", *arguments])


def _files(app: Flask) -> set[str]:
    return {path.name for path in Path(app.instance_path, "uploads").rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["delete_expired", "delete-expired"])
def test_expired_uploads_are_removed_and_no_others(app: Flask, client: FlaskClient, clock: Clock, command: str) -> None:
    """Rows, bytes and locks of what was not finished in time go; finished and living uploads stay."""
    old, done = _create(client, b"01234"), _create(client, b"0123456789")
    clock.now += timedelta(hours=23)
    young = _create(client, b"0")
    clock.now += timedelta(hours=2)
    result = _run(app, command)
    assert (result.exit_code, result.output) == (
        0,
        "Uploads removed: 1, orphans removed: 0, bytes freed: 5, busy: 0, failed: 0.\n",
    )
    assert client.head(f"/files/{old}", headers=TUS).status_code == 404
    assert client.head(f"/files/{young}", headers=TUS).headers["Upload-Offset"] == "1"
    assert client.head(f"/files/{done}", headers=TUS).headers["Upload-Offset"] == "10"
    assert _files(app) == {done, f"{young}.part", f"{young}.lock"}
    assert "Uploads removed: 0," in _run(app, command).output


def test_a_dry_run_removes_nothing(app: Flask, client: FlaskClient, clock: Clock) -> None:
    """--dry-run says what would go."""
    old = _create(client, b"01234")
    clock.now += timedelta(days=2)
    result = _run(app, "delete_expired", "--dry-run")
    assert old in result.output and result.output.endswith("Uploads that would be removed: 1 (5 bytes).\n")
    assert client.head(f"/files/{old}", headers=TUS).status_code == 410


def test_uploads_in_use_are_left_alone(app: Flask, client: FlaskClient, clock: Clock) -> None:
    """An expired upload that a request still writes to is not touched until its claim has run out."""
    old = _create(client, b"01234")
    clock.now += timedelta(days=2)
    repository = app.extensions["resumable"].repository
    _, claim = repository.claim(old, now=clock.now, until=clock.now + timedelta(seconds=9))
    assert "Uploads removed: 0," in _run(app, "delete_expired").output
    clock.now += timedelta(seconds=9)
    assert "Uploads removed: 1," in _run(app, "delete_expired").output


def test_what_cannot_be_removed_is_a_failure(app: Flask, client: FlaskClient, clock: Clock) -> None:
    """The exit code tells, the id is named, and the next run tries again."""
    stuck, other = _create(client, b"01234"), _create(client, b"0")
    clock.now += timedelta(days=2)
    part = Path(app.instance_path, "uploads", ".partial", f"{stuck}.part")
    part.unlink()
    part.mkdir()
    result = _run(app, "delete_expired", "--batch", "1")
    assert result.exit_code == 1
    assert "Uploads removed: 1," in result.output and "failed: 1" in result.output and stuck in result.output
    assert other not in result.output
    part.rmdir()
    assert _run(app, "delete_expired").exit_code == 0
    assert _files(app) == set()


def test_a_refusing_pre_delete_keeps_the_upload(app: Flask, clock: Clock) -> None:
    """The app may keep what has expired; that is a failure to remove, and told as such."""

    class Uploads(FlaskResumable):
        def pre_delete(self, upload: Any) -> None:
            raise UploadRejected(403, "Evidence.")

    Uploads(app, now=clock)
    kept = _create(app.test_client(), b"01234")
    clock.now += timedelta(days=2)
    result = _run(app, "delete_expired")
    assert result.exit_code == 1 and kept in result.output
    assert f"{kept}.part" in _files(app)


def test_leftovers_without_a_record_are_removed(app: Flask, client: FlaskClient, clock: Clock) -> None:
    """Unfinished bytes that no record knows go after a while; those of living uploads stay."""
    clock.now = datetime.now(UTC)
    lost, living = _create(client, b"01234"), _create(client, b"0")
    repository = app.extensions["resumable"].repository
    upload, claim = repository.claim(lost, now=clock.now, until=clock.now)
    repository.remove(upload, claim)
    assert "orphans removed: 0," in _run(app, "delete_expired").output
    clock.now += timedelta(hours=1, seconds=1)
    assert "orphans removed: 1, bytes freed: 5," in _run(app, "delete_expired", "--orphans-after", "1").output
    assert _files(app) == {f"{living}.part", f"{living}.lock"}


def test_missed_hooks_are_made_up(app: Flask, clock: Clock) -> None:
    """complete_pending calls on_complete where it failed before, and says where it failed again."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    fails = True
    seen: list[str] = []

    class Uploads(FlaskResumable):
        def on_complete(self, upload: Any) -> None:
            if fails:
                raise OSError("down")
            seen.append(upload.id)

    Uploads(app, now=clock)
    client = app.test_client()
    headers = {**TUS, "Upload-Length": "2", "Content-Type": "application/offset+octet-stream"}
    assert client.post("/files/", data=b"ab", headers=headers).status_code == 500
    clock.now += timedelta(days=9)
    assert "Uploads removed: 0," in _run(app, "delete_expired").output
    result = _run(app, "complete_pending")
    assert (result.exit_code, "failed: 1" in result.output) == (1, True)
    fails = False
    result = _run(app, "complete-pending")
    assert (result.exit_code, result.output) == (0, "Uploads completed: 1, failed: 0.\n")
    assert len(seen) == 1
    assert _run(app, "complete_pending").output == "Uploads completed: 0, failed: 0.\n"


def test_uploads_are_listed(app: Flask, client: FlaskClient) -> None:
    """One line for each, by pages, with nothing in it that a terminal would obey."""
    ids = sorted([_create(client, b"01234"), _create(client, b"0123456789"), _create(client, b"")])
    lines = _run(app, "list", "--batch", "1").output.splitlines()
    assert [line.split()[0] for line in lines] == ids
    assert all(r"'\x03\x1b[1m'" in line for line in lines)
    assert len(_run(app, "list", "--status", "complete").output.splitlines()) == 1


def test_one_upload_is_shown(app: Flask, client: FlaskClient) -> None:
    """All that is known of an upload, as JSON; an unknown one is an error."""
    upload_id = _create(client, b"01234")
    shown = json.loads(_run(app, "show", upload_id).output)
    assert (shown["offset"], shown["length"], shown["status"]) == (5, 10, "active")
    assert shown["metadata"] == {"filename": "\x03\x1b[1m"}
    assert Path(shown["path"]).read_bytes() == b"01234"
    assert (shown["location"], shown["storage"]) == (None, {})
    assert _run(app, "show", "0" * 32).exit_code == 1


def test_a_complete_upload_is_not_said_to_expire(app: Flask, client: FlaskClient) -> None:
    """Neither in the list nor in detail."""
    unfinished, complete = _create(client, b"01234"), _create(client, b"0123456789")
    listed = {line["id"]: line for line in map(json.loads, _run(app, "list", "--json").output.splitlines())}
    for upload_id, expires in ((unfinished, True), (complete, False)):
        shown = json.loads(_run(app, "show", upload_id).output)["expires_at"]
        assert shown == listed[upload_id]["expires_at"]
        assert (shown is not None) == expires


def test_an_upload_without_a_path_is_found_all_the_same(app: Flask) -> None:
    """Its location is shown, and what its storage has noted, but no list of thousands of parts."""
    app.config["FLOW_ENABLED"] = False
    FlaskResumable(app, storage=LinkedStorage())
    upload_id = _create(app.test_client(), b"0123456789")
    shown = json.loads(_run(app, "show", upload_id).output)
    assert (shown["path"], shown["location"]) == (None, f"https://store.example/{upload_id}")
    assert shown["storage"] == {"key": upload_id}
    notes = {"parts": [str(number) for number in range(10_000)], "tails": ["a"]}
    repository = app.extensions["resumable"].repository
    repository.amend(upload_id, lambda upload: replace(upload, storage=notes), now=datetime.now(UTC))
    assert json.loads(_run(app, "show", upload_id).output)["storage"] == {"parts": "10000 items", "tails": ["a"]}


def test_the_commands_belong_to_apps_with_the_extension(app: Flask) -> None:
    """An app without uploads has no such commands."""
    assert _run(app, "list").exit_code != 0


def test_a_reader_that_stops_ends_the_list_quietly(app: Flask, tmp_path: Path) -> None:
    """As ``head`` does, over a real pipe, with more lines than a pipe can hold."""
    (tmp_path / "listing.py").write_text(
        "from flask import Flask\n"
        "from flask_resumable import FlaskResumable\n"
        f"app = Flask('app', instance_path={app.instance_path!r})\n"
        "FlaskResumable(app)\n"
    )
    FlaskResumable(app)
    repository = app.extensions["resumable"].repository
    for number in range(700):
        metadata = UploadMetadata.from_header("filename " + "YWJj" * 64)
        repository.add(an_upload(number, metadata=metadata), until=None)
    repository.dispose()
    command = [sys.executable, "-m", "flask", "--app", str(tmp_path / "listing.py"), "tus", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        assert listing.stdout is not None and listing.stderr is not None
        assert listing.stdout.readline().startswith(b"0" * 32)
        listing.stdout.close()
        assert listing.stderr.read() == b""


def test_progress_is_shown_on_a_terminal_only(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, once it takes long, and it is wiped away at the end."""
    for _ in range(3):
        _create(client, b"0123")
    monkeypatch.setattr("flask_resumable.cli._PATIENCE", -1)
    assert _run_apart(app, "stats", "--batch", "1").stderr == ""
    monkeypatch.setattr("flask_resumable.cli._is_terminal", lambda stream: stream is sys.stderr)
    result = _run_apart(app, "stats", "--batch", "1")
    assert "Counted: 2" in result.stderr and result.stderr.endswith("\r")  # colours and the like are removed here
    assert "Counted" not in result.stdout
    assert "Listed: 3" in _run_apart(app, "list", "--batch", "1").stderr
