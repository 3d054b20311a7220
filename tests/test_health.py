"""``resumable.check()`` and ``flask tus check``: what is wrong is told with advice, and nothing is ever raised."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable.core.selection import Selection
from flask_resumable.core.upload import Status
from flask_resumable.storage import LocalStorage

TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


class Uploads(FlaskResumable):
    """Its hook fails when told to, and its clock is ahead when told to."""

    ahead = timedelta()
    is_failing = False

    def __init__(self, app: Flask) -> None:
        super().__init__(app, now=lambda: datetime.now(UTC) + self.ahead)

    def on_complete(self, upload: object) -> None:
        if self.is_failing:
            raise RuntimeError("as told")


@pytest.fixture
def uploads(app: Flask) -> Uploads:
    """Of an app that has received something."""
    found = Uploads(app)
    sent(app, b"0123", 10)
    return found


@pytest.fixture(autouse=True)
def in_context(app: Flask) -> Iterator[None]:
    """As in a view."""
    with app.app_context():
        yield


def sent(app: Flask, content: bytes, length: int) -> str:
    """Send some bytes of a file; the id."""
    headers = {**TUS, "Upload-Length": str(length)}
    response = app.test_client().post("/files/", data=content, headers=headers)
    return response.headers.get("Location", "")


def levels(uploads: Uploads, *, quick: bool = False) -> dict[str, str]:
    """What is not well."""
    return {found.name: found.level for found in uploads.check(quick=quick) if found.level != "ok"}


def run(app: Flask, *arguments: str) -> Result:
    """A command."""
    return app.test_cli_runner().invoke(args=["tus", *arguments])


def folder(app: Flask) -> Path:
    """Where the uploads are."""
    return Path(app.instance_path, "uploads")


def test_all_is_well(app: Flask, uploads: Uploads) -> None:
    """Every line says ok, and nothing is left of what was tried."""
    before = sorted(folder(app).rglob("*"))
    result = run(app, "check")
    assert result.exit_code == 0
    assert all(line.startswith("ok ") for line in result.output.splitlines())
    assert len(result.output.splitlines()) == 8
    assert sorted(folder(app).rglob("*")) == before
    assert [row["level"] for row in json.loads(run(app, "check", "--quick", "--json").output)] == ["ok"] * 4


def test_a_database_that_has_lost_its_table_is_an_error(app: Flask, uploads: Uploads) -> None:
    """The advice is about the table, and the exit code is 2."""
    with closing(sqlite3.connect(Path(app.instance_path, "resumable.sqlite"))) as connection:
        (table,) = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchone()
        connection.execute(f"DROP TABLE {table}")
        connection.commit()
    result = run(app, "check", "--quick")
    assert result.exit_code == 2
    assert "error    database: The table is not as the model says" in result.output


def test_a_folder_that_is_in_the_way_is_an_error(app: Flask, uploads: Uploads) -> None:
    """Something else is in its place."""
    folder(app).rename(folder(app).with_name("elsewhere"))
    folder(app).write_text("")
    assert levels(uploads, quick=True) == {"folder": "error"}


@pytest.mark.skipif(os.geteuid() == 0, reason="Root may write everywhere.")
def test_a_folder_without_rights_is_an_error(app: Flask, uploads: Uploads) -> None:
    """The advice says who needs which right."""
    (folder(app) / ".partial").chmod(0o555)
    assert levels(uploads, quick=True) == {"folder": "error"}
    (folder(app) / ".partial").chmod(0o755)


def test_too_little_space_is_an_error(tmp_path: Path) -> None:
    """As much as must stay free."""
    storage = LocalStorage(tmp_path / "uploads", min_free_space=1 << 62)
    found = {result.name: result.level for result in storage.check(datetime.now(UTC), quick=True)}
    assert found == {"folder": "ok", "clock": "ok", "free space": "error"}


def test_what_was_left_undone_is_a_warning(app: Flask, uploads: Uploads) -> None:
    """Expired uploads, hooks that failed, orphans, and a clock that is wrong: the exit code is 1."""
    uploads.is_failing = True
    app.config["PROPAGATE_EXCEPTIONS"] = False
    stuck = sent(app, b"0123456789", 10)
    (folder(app) / ".partial" / f"{'a' * 32}.part").write_bytes(b"x")
    os.utime(folder(app) / ".partial" / f"{'a' * 32}.part", (0, 0))
    uploads.ahead = timedelta(days=3)
    names = ["clock", "expired uploads", "orphans", "pending uploads"]
    assert levels(uploads) == dict.fromkeys(names, "warning")
    assert run(app, "check").exit_code == 1
    uploads.ahead = timedelta()
    pending = app.extensions["resumable"].repository.list(Selection(status=Status.FINISHING), limit=9)
    assert stuck in ("", pending[0].id)
    failed = run(app, "retry", pending[0].id)
    assert (failed.exit_code, failed.output) == (1, "Error: on_complete failed again: RuntimeError: as told\n")
    uploads.is_failing = False
    assert run(app, "retry", pending[0].id).output == f"{pending[0].id} is complete.\n"


def test_one_upload_is_removed(app: Flask, uploads: Uploads) -> None:
    """With its bytes, and only once."""
    upload_id = sent(app, b"0123", 10)
    assert run(app, "delete", upload_id).output == f"Removed: {upload_id}.\n"
    assert not (folder(app) / ".partial" / f"{upload_id}.part").exists()
    for command in ("delete", "retry"):
        again = run(app, command, upload_id)
        assert (again.exit_code, again.output) == (
            1,
            f"Error: No upload has the id {upload_id!r}. 'flask tus list' lists them.\n",
        )


def test_uploads_are_selected_and_counted(app: Flask, uploads: Uploads) -> None:
    """By any of their properties, as lines or as JSON; what clients have sent is escaped."""
    names = {"Upload-Metadata": "filename G1szMW0=", "Upload-Length": "500"}
    large = app.test_client().post("/files/", headers={**TUS, **names}, data=b"x").headers["Location"]
    whole = sent(app, b"0123456789", 10)
    rows = [json.loads(line) for line in run(app, "list", "--json").output.splitlines()]
    assert {row["id"]: row["received"] for row in rows} | {large: 1, whole: 10} == {
        row["id"]: row["received"] for row in rows
    }
    assert len(rows) == 3
    assert run(app, "list", "--larger-than", "10").output.split()[0] == large
    assert "\x1b" not in run(app, "list").output + run(app, "list", "--json").output
    for nothing in (["--owner", "ann"], ["--storage", "b"], ["--older-than", "1"], ["--expired"], ["--stuck"]):
        assert run(app, "list", *nothing).output == ""
    uploads.ahead = timedelta(days=2)
    for option in (["--older-than", "1"], ["--expired"]):
        assert large in run(app, "list", *option).output
    assert whole not in run(app, "list", "--expired").output
    assert run(app, "stats").output.splitlines() == [
        "status   complete  uploads: 1, bytes: 10",
        "status   active  uploads: 2, bytes: 5",
        "storage  -  uploads: 3, bytes: 15",
        "owner    -  uploads: 3, bytes: 15",
    ]
    assert json.loads(run(app, "stats", "--json").output)[0] == {
        "by": "status",
        "name": "complete",
        "uploads": 1,
        "bytes": 10,
    }
