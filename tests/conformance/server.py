"""Apps under test, with the four things a test may look at: answers, hook calls, rows and files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import closing
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

from click.testing import Result
from flask import Flask
from flask import request
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin

from .tus_client import Tus

START = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
EXPIRED = {"days": 1, "seconds": 1}  # by then, every upload of START has expired unless it is finished
STATE_HEADERS = (
    "Upload-Offset",
    "Upload-Length",
    "Upload-Defer-Length",
    "Upload-Metadata",
    "Upload-Concat",
    "Upload-Expires",
)


class Clock:
    """The only clock of an app under test; it stands still until told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(frozen=True)
class Call:
    """What a hook saw."""

    hook: str
    id: str
    offset: int
    length: int | None
    status: str


class Recorder(FlaskResumable):
    """Notes every hook call; ``during[hook]`` is run inside it. Uploads belong to the user that X-User names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.calls: list[Call] = []
        self.during: dict[str, Callable[[Any], object]] = {}
        super().__init__(*args, **kwargs)

    def current_owner(self) -> str | None:
        return request.headers.get("X-User")

    def on_create(self, upload: Any) -> None:
        self._note("on_create", upload)

    def pre_save(self, upload: Any) -> None:
        self._note("pre_save", upload)

    def post_save(self, upload: Any) -> None:
        self._note("post_save", upload)

    def on_complete(self, upload: Any) -> None:
        self._note("on_complete", upload)

    def pre_delete(self, upload: Any) -> None:
        self._note("pre_delete", upload)

    def post_delete(self, upload: Any) -> None:
        self._note("post_delete", upload)

    def _note(self, hook: str, upload: Any) -> None:
        self.calls.append(Call(hook, upload.id, upload.offset, upload.length, upload.status))
        if hook in self.during:
            self.during[hook](upload)

    def names(self, url: str | None = None) -> list[str]:
        """The hooks called so far, of all uploads or of one."""
        return [call.hook for call in self.calls if url is None or call.id == id_of(url)]

    def count(self, hook: str, url: str | None = None) -> int:
        return self.names(url).count(hook)


@dataclass
class Server:
    """One app, its clock, and where it keeps things."""

    app: Flask
    hooks: Recorder
    clock: Clock
    folder: Path
    database: Path
    tus: Tus = field(init=False)

    def __post_init__(self) -> None:
        self.tus = Tus(self.app.test_client())

    def cli(self, *args: str) -> Result:
        """Run ``flask <args>``, which must succeed."""
        result = self.app.test_cli_runner().invoke(args=args)
        assert result.exit_code == 0, result.output
        return result

    def files(self) -> dict[str, int]:
        """Every file in the upload folder, with its size."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in found}

    def files_of(self, url: str) -> list[str]:
        """The files that belong to one upload."""
        return sorted(name for name in self.files() if id_of(url) in name)

    def finished(self, url: str) -> Path:
        """Where the file will be once it is whole."""
        return self.folder / id_of(url)

    def content(self, url: str) -> bytes:
        """The bytes on disk that the server stands by: those below the offset."""
        if self.finished(url).exists():
            return self.finished(url).read_bytes()
        part = self.folder / ".partial" / f"{id_of(url)}.part"
        return part.read_bytes()[: self.tus.offset(url)] if part.exists() else b""

    def dump(self) -> list[str]:
        """Every row of every table."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database)) as connection:
            rows = [line for line in connection.iterdump() if line.startswith("INSERT")]
        return [row for row in rows if "sqlite_" not in row[:30]]

    def kept(self) -> tuple[int, dict[str, int]]:
        """How many rows and which files there are."""
        return len(self.dump()), self.files()

    def state(self, url: str) -> tuple[int, dict[str, str | None], bytes]:
        """An upload as a client and the disk show it."""
        response = self.tus.head(url)
        shown = {name: response.headers.get(name) for name in STATE_HEADERS}
        return response.status_code, shown, self.content(url) if response.status_code == 200 else b""

    @contextmanager
    def unchanged(self, *urls: str) -> Iterator[None]:
        """Nothing that a client, the app or the disk could notice happens inside."""
        before = [self.state(url) for url in urls], self.kept(), list(self.hooks.calls)
        yield
        assert ([self.state(url) for url in urls], self.kept(), list(self.hooks.calls)) == before


Serve = Callable[..., Server]


def id_of(url: str) -> str:
    """The upload's id."""
    return url.rstrip("/").rpartition("/")[2]


def start_embedded(home: Path, config: dict[str, Any]) -> Server:
    """The default: an SQLite file and the bytes in the instance folder."""
    app = Flask(__name__, instance_path=str(home / "instance"))
    app.config.update(config)
    clock = Clock()
    hooks = Recorder(app, now=clock)
    instance = home / "instance"
    return Server(app, hooks, clock, instance / "uploads", instance / "resumable.sqlite")


def start_flask_sqlalchemy(home: Path, config: dict[str, Any]) -> Server:
    """An app with its own database and its own model, which has a column more."""
    database = home / "app.sqlite"
    folder = home / "uploads"
    app = Flask(__name__, instance_path=str(home / "instance"))
    app.config.update(SQLALCHEMY_DATABASE_URI=f"sqlite:///{database}", RESUMABLE_UPLOAD_DIR=str(folder), **config)
    db = SQLAlchemy(app)

    class Picture(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
        album = db.Column(db.String(80), nullable=False, default="unsorted")

    clock = Clock()
    hooks = Recorder(app, model=Picture, db=db, now=clock)
    with app.app_context():
        db.create_all()
    return Server(app, hooks, clock, folder, database)
