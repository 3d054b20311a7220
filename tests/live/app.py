"""The app under test: Flask-SQLAlchemy on SQLite, every hook noted, and hooks that misbehave when a file tells them to.

Configured by the environment, so that any WSGI server can start it::

    LIVE_HOME       folder for the database, the uploads, the journal and the orders
    LIVE_SETTINGS   app.config as JSON; EXPIRATION in seconds
    LIVE_AHEAD      how many seconds the app's clock is ahead
    LIVE_MUTE       "1": no journal, no orders (a traced process makes no system calls of the test's own)
    LIVE_READERS    "1": requests can say who reads their body before the extension
    LIVE_MOVE       where on_complete moves each file to, with {id} in it; LIVE_OVERWRITE "1": whatever is there
    LIVE_MORTAL     "1": the process ends when its parent does (granian's workers would spin for ever)
    LIVE_RAW_INPUT  "1": the server does not say that its wsgi.input ends where the body does
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

from flask import Flask
from flask import request
from flask import Response
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin

from .journal import Journal
from .readers import add_reader


class Hooks(FlaskResumable):
    """Notes every hook and obeys the orders left in ``<home>/orders/<hook>``: sleep, fail or die."""

    def __init__(self, home: Path, *, is_mute: bool, write_receipt: Callable[[Any], None], **wiring: Any) -> None:
        super().__init__(**wiring)
        self._journal = None if is_mute else Journal(home / "journal")
        self._orders = home / "orders"
        self._write_receipt = write_receipt

    def on_create(self, upload: Any) -> None:
        self._note("on_create", upload)

    def pre_save(self, upload: Any) -> None:
        self._note("pre_save", upload)

    def post_save(self, upload: Any) -> None:
        self._note("post_save", upload)

    def on_complete(self, upload: Any) -> None:
        self._write_receipt(upload)
        self._note("on_complete", upload)

    def pre_delete(self, upload: Any) -> None:
        self._note("pre_delete", upload)

    def post_delete(self, upload: Any) -> None:
        self._note("post_delete", upload)

    def _note(self, hook: str, upload: Any) -> None:
        if self._journal is None:
            return
        self._journal.note(hook, upload.id)
        order = self._orders / hook
        if order.exists():
            self._obey(*order.read_text().split())

    def _obey(self, order: str, argument: str = "") -> None:
        match order:
            case "sleep":
                time.sleep(float(argument))
            case "fail":
                raise RuntimeError("The hook fails, as ordered.")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                raise ValueError(order)


def create_app(home: Path | None = None, environ: Mapping[str, str] = os.environ) -> Flask:
    """The app, as a WSGI server or the ``flask`` command starts it."""
    home = home or Path(environ["LIVE_HOME"])
    if "without_linux" in os.environ.get("PYTHONPATH", ""):
        assert not hasattr(os, "splice"), "tests/without_linux has had no effect."
    if environ.get("LIVE_MORTAL") == "1":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    is_mute = environ.get("LIVE_MUTE") == "1"
    app = Flask(__name__, instance_path=str(home / "instance"))
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{home / 'app.sqlite'}"
    app.config["RESUMABLE_UPLOAD_DIR"] = str(home / "uploads")
    app.config.update(settings_of(environ))
    db = SQLAlchemy(app)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
        pass

    class Receipt(db.Model):  # type: ignore[name-defined, misc]
        """What on_complete writes, in the same transaction as the upload's state: one row for each finished upload."""

        id = db.Column(db.Integer, primary_key=True)
        upload_id = db.Column(db.String(32), nullable=False)
        sha256 = db.Column(db.String(64), nullable=False)

    def write_receipt(upload: Any) -> None:
        if "LIVE_MOVE" in environ:
            upload.move_to(environ["LIVE_MOVE"].format(id=upload.id), overwrite=environ.get("LIVE_OVERWRITE") == "1")
        with upload.open() as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        db.session.add(Receipt(upload_id=upload.id, sha256=digest))

    ahead = timedelta(seconds=float(environ.get("LIVE_AHEAD", "0")))
    Hooks(
        home,
        is_mute=is_mute,
        write_receipt=write_receipt,
        model=Upload,
        db=db,
        now=lambda: datetime.now(UTC) + ahead,
    ).init_app(app)
    with (home / "tables.lock").open("w") as lock, app.app_context():
        fcntl.flock(lock, fcntl.LOCK_EX)  # the worker processes start together
        db.create_all()
    if not is_mute:
        _note_requests(app, Journal(home / "journal"))
    if environ.get("LIVE_READERS") == "1":
        add_reader(app)
    if environ.get("LIVE_RAW_INPUT") == "1":
        app.wsgi_app = _RawInput(app.wsgi_app)  # type: ignore[method-assign]
    return app


def settings_of(environ: Mapping[str, str]) -> dict[str, Any]:
    """What LIVE_SETTINGS says."""
    settings = json.loads(environ.get("LIVE_SETTINGS", "{}"))
    for name in settings:
        if name.endswith("_EXPIRATION") and settings[name] is not None:
            settings[name] = timedelta(seconds=settings[name])
    return dict(settings)


def _note_requests(app: Flask, journal: Journal) -> None:
    """Say which process answers, and note when a request is over, which a client that has left cannot see."""

    @app.after_request
    def say_who(response: Response) -> Response:
        response.headers["X-Worker-Pid"] = str(os.getpid())
        return response

    @app.teardown_request
    def note_end(error: BaseException | None) -> None:
        journal.note(f"end {request.method}", request.path.rpartition("/")[2])


class _RawInput:
    """Hides what the server says about its input, as servers do that cannot deliver a body of unknown length."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ.pop("wsgi.input_terminated", None)
        return self._app(environ, start_response)
