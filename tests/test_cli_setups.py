"""``flask tus`` where it cannot see what the server does: other folders, no database yet, in memory, no request."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask import request
from flask import url_for
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.cli import tus_commands
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.repositories.memory import MemoryRepository
from tests.conformance.server import Clock
from tests.conformance.tus_client import Tus

flask_login = pytest.importorskip("flask_login")

RELATIVE = {"TUS_UPLOAD_DIR": "files", "RESUMABLE_DATABASE_URI": "sqlite:///state.db", "FLOW_TEMP_DIR": "chunks"}
EVERY = ["list", "verify", "complete_pending", "delete_expired", "delete_expired --dry-run", f"show {'0' * 32}"]


def run(app: Flask, command: str) -> Result:
    """Run ``flask tus <command>``."""
    return app.test_cli_runner().invoke(args=["tus", *command.split()])


def add_orphan(app: Flask) -> Path:
    """Unfinished bytes without a record; the file."""
    orphan = Path(app.instance_path, "uploads", ".partial", f"{'a' * 32}.part")
    orphan.parent.mkdir(parents=True)
    orphan.touch()
    return orphan


def test_commands_find_the_same_things_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server and cron have different working directories."""
    clock = Clock()

    def start(folder: str) -> Flask:
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        app = Flask("app", instance_path=str(tmp_path / "instance"))
        app.config.update(RELATIVE)
        FlaskResumable(app, now=clock)
        return app

    url = Tus(start("server").test_client()).create_with(b"hello", 10).headers["Location"]
    clock.advance(days=2)
    cron = start("cron")
    assert url in run(cron, "list").output
    result = run(cron, "delete_expired")
    assert result.output.startswith("Uploads removed: 1, orphans removed: 0, bytes freed: 5,") and not result.exit_code
    assert [*tmp_path.rglob("*.part"), *(tmp_path / "server").iterdir(), *(tmp_path / "cron").iterdir()] == []


def test_bytes_that_were_not_found_are_not_counted(app: Flask) -> None:
    """The records go, and the command says that their bytes were not where they should be."""
    clock = Clock()
    FlaskResumable(app, now=clock)
    for content in (b"hello", b"hello!"):
        Tus(app.test_client()).create_with(content, 10)
    next(path for path in Path(app.instance_path).rglob("*.part") if path.stat().st_size == 6).unlink()
    clock.advance(days=2)
    result = run(app, "delete_expired")
    assert "Uploads removed: 2, orphans removed: 0, bytes freed: 5," in result.output and not result.exit_code
    assert "received but not found: 6." in result.output


@pytest.mark.parametrize("command", EVERY)
@pytest.mark.parametrize("kind", ["embedded", "own"])
def test_no_command_creates_a_database_or_a_folder(app: Flask, tmp_path: Path, command: str, kind: str) -> None:
    """Before the first upload, or with a wrong setting, there is nothing to find, and nothing to remove either."""
    database = tmp_path / "nowhere" / "state.db"
    if kind == "own":
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{database}"
        FlaskResumable(app, model=SQLAlchemyModel, db=SQLAlchemy(app))
    else:
        app.config["RESUMABLE_DATABASE_URI"] = f"sqlite:///{database}"
        FlaskResumable(app)
    orphan = add_orphan(app)
    result = run(app, f"{command} --orphans-after 0" if command == "delete_expired" else command)
    assert f"the database {database} does not exist" in result.output and result.exit_code == 0
    assert not database.parent.exists() and orphan.exists()


@pytest.mark.parametrize("command", EVERY[:-1])
@pytest.mark.parametrize("kind", ["repository", "embedded", "own"])
def test_records_in_memory_are_explained(app: Flask, command: str, kind: str) -> None:
    """A command has a memory of its own, so it says why it finds nothing, and takes nothing for an orphan."""
    memory = "sqlite:///:memory:"
    if kind == "repository":
        FlaskResumable(app, repository=MemoryRepository())
    elif kind == "own":
        app.config["SQLALCHEMY_DATABASE_URI"] = memory
        FlaskResumable(app, model=SQLAlchemyModel, db=SQLAlchemy(app))
    else:
        app.config["RESUMABLE_DATABASE_URI"] = memory
        FlaskResumable(app)
    orphan = add_orphan(app)
    result = run(app, f"{command} --orphans-after 0" if command == "delete_expired" else command)
    assert "in the memory of each process" in result.output and result.exit_code == 0
    assert orphan.exists()


HOOKS: dict[str, Callable[[Any], object]] = {
    "request": lambda upload: request.headers.get("X-User"),
    "url_for": lambda upload: url_for("static", filename=upload.id),
    "current_user": lambda upload: flask_login.current_user.is_authenticated,
}


@pytest.mark.parametrize("command", [*EVERY, "check", "stats"])
def test_an_app_without_the_extension_is_told_so(command: str) -> None:
    """Flask finds the commands wherever the package is installed."""
    result = Flask("other").test_cli_runner().invoke(tus_commands, command.split())
    assert result.exit_code == 1
    assert "FlaskResumable is not set up for 'other'" in result.output
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("uses", HOOKS)
def test_hooks_that_need_a_request_are_told_what_to_use(
    app: Flask, uses: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The command and the log name the hook and the remedy, and the upload is kept for the next try."""
    url, clock = pending(app, "on_complete", HOOKS[uses])
    for _ in range(2):
        with caplog.at_level(logging.ERROR):
            result = run(app, "complete_pending")
        assert result.exit_code == 1 and url.rpartition("/")[2] in result.output
        assert "on_complete was called without a request" in result.output and "upload.owner" in result.output
    assert "on_complete was called without a request" in caplog.text
    assert '"finishing"' in run(app, f"show {url.rpartition('/')[2]}").output


@pytest.mark.parametrize("uses", HOOKS)
def test_hooks_can_have_a_test_request(app: Flask, uses: str) -> None:
    """With COMMAND_REQUESTS, the same hooks succeed under the commands."""
    app.config["RESUMABLE_COMMAND_REQUESTS"] = True
    pending(app, "on_complete", HOOKS[uses])
    result = run(app, "complete_pending")
    assert result.exit_code == 0 and "Uploads completed: 1" in result.output


@pytest.mark.parametrize("is_given", [False, True])
def test_the_cleaner_gives_hooks_the_same(app: Flask, is_given: bool) -> None:
    """pre_delete may need a request, too. If it fails, the upload stays."""
    app.config["RESUMABLE_COMMAND_REQUESTS"] = is_given
    url, clock = pending(app, "pre_delete", HOOKS["url_for"], length=10)
    clock.now += timedelta(days=2)
    result = run(app, "delete_expired")
    assert (result.exit_code == 1, "pre_delete was called without a request" in result.output) == (
        not is_given,
        not is_given,
    )
    assert (url.rpartition("/")[2] in run(app, "list").output) == (not is_given)


def test_other_errors_are_not_explained_away(app: Flask) -> None:
    """An error of the hook's own gets no hint."""

    def fail(upload: Any) -> object:
        raise RuntimeError("The disk is full.")

    pending(app, "on_complete", fail)
    assert "without a request" not in run(app, "complete_pending").output


def pending(app: Flask, hook: str, work: Callable[[Any], object], *, length: int = 5) -> tuple[str, Clock]:
    """An upload with five bytes, and the app's clock. ``on_complete`` fails in the request, and then does the work."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    flask_login.LoginManager(app).user_loader(lambda user_id: None)
    clock, failures = Clock(), [OSError("down")] if hook == "on_complete" else []

    def call(self: Any, upload: Any) -> None:
        if failures:
            raise failures.pop()
        work(upload)

    kind = type("Uploads", (FlaskResumable,), {hook: call})
    kind(app, now=clock)
    tus = Tus(app.test_client())
    url = tus.new(length)
    tus.patch(url, 0, b"hello")
    return url, clock


_DIES = """
import os, sys
from flask import Flask
from flask_resumable import FlaskResumable
from flask_resumable.storage import LocalStorage

class Uploads(FlaskResumable):
    def on_complete(self, upload):
        if os.environ.get("DIE") == "completing":
            os._exit(9)

class Storage(LocalStorage):
    def delete(self, upload):
        if os.environ.get("DIE") == "removing":
            os._exit(9)
        super().delete(upload)

app = Flask(__name__, instance_path=sys.argv[1] if __name__ == "__main__" else os.getcwd())
app.config["TUS_LEASE"] = 600
Uploads(app, storage=Storage(os.path.join(app.instance_path, "files")))
if __name__ == "__main__":
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Content-Type": "application/offset+octet-stream"}
    upload = app.test_client().post("/files/", headers=headers, data=b"hello").headers["Location"]
    app.test_client().delete(f"/files/{upload}", headers=headers)
"""


@pytest.mark.parametrize(
    ("death", "command", "told"),
    [
        ("completing", "complete_pending", "Uploads completed: {}, failed: 0."),
        ("removing", "delete_expired", "Uploads removed: {}, orphans removed: 0, "),
    ],
)
def test_what_a_dead_process_left_is_finished_at_once(tmp_path: Path, death: str, command: str, told: str) -> None:
    """Although its claim has not run out."""
    (tmp_path / "dying.py").write_text(_DIES)
    script = [sys.executable, "dying.py", str(tmp_path)]
    assert subprocess.run(script, cwd=tmp_path, env={**os.environ, "DIE": death}, timeout=200).returncode == 9
    again = [sys.executable, "-m", "flask", "--app", "dying", "tus", command]
    for number in (1, 0):
        done = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.stdout.startswith(told.format(number)), done.stdout + done.stderr
