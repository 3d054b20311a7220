"""SQLite databases in memory: right for threads that come together, or refused with a word."""

from __future__ import annotations

import base64
import json
import logging
import random
import sqlite3
import threading
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine
from sqlalchemy import text
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import NullPool
from sqlalchemy.pool import QueuePool
from sqlalchemy.pool import SingletonThreadPool
from sqlalchemy.pool import StaticPool

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.repositories.sql import turns
from tests.conformance.tus_client import Tus
from tests.live.servers import Server

from .memory_app import Base
from .memory_app import Upload

TOGETHER = 8
SHARED = "sqlite:///file:together?mode=memory&cache=shared&uri=true"
SITES = {
    "flask-sqlalchemy": ("sqlite:///:memory:", ""),
    "without a name": ("sqlite://", ""),
    "file in memory": ("sqlite:///file::memory:?cache=shared&uri=true", ""),
    "plain": ("sqlite://", "StaticPool"),
    "plain, shared": (SHARED, "QueuePool"),
}


class Memory(Server):
    """``databases.memory_app`` on a server."""

    def _command(self) -> list[str]:
        return [part.replace("live.app:", "databases.memory_app:") for part in super()._command()]

    def env(self, **more: str) -> dict[str, str]:
        return super().env(FLASK_APP="databases.memory_app:create_app", **more)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Memory]]:
    """Start the app under a server."""
    running: list[Memory] = []

    def start(kind: str, uri: str, plain: str) -> Memory:
        server = Memory(kind, tmp_path, environ={"DATABASE_URI": uri, "PLAIN": plain})
        running.append(server)
        server.start()
        return server

    yield start
    for server in running:
        server.stop()
        print(server.log.read_text()[-8000:])


def send(server: Memory, number: int) -> tuple[str, bytes]:
    """Upload a file in four pieces, asking for the offset in between; every answer must be the right one."""
    content = random.Random(number).randbytes(40_000)
    name = base64.b64encode(str(number).encode()).decode()
    path = server.tus.create(len(content), {"Upload-Metadata": f"filename {name}"})
    for start in range(0, len(content), 10_000):
        answer = server.tus.patch(path, start, content[start : start + 10_000])
        assert (answer.status, answer.offset) == (204, start + 10_000), answer
        answer = server.tus.head(path)
        assert (answer.status, answer.offset) == (200, start + 10_000), answer
    return path, content


@pytest.mark.live
@pytest.mark.parametrize(
    ("kind", "site"),
    [
        *product(["gthread"], SITES),
        ("werkzeug", "flask-sqlalchemy"),
        *(pytest.param("werkzeug", site, marks=pytest.mark.thorough) for site in [*SITES][1:]),
        ("gevent", "flask-sqlalchemy"),
        ("gevent", "plain"),
    ],
)
def test_uploads_that_come_together_keep_apart(serve: Callable[..., Memory], kind: str, site: str) -> None:
    """Eight clients, with hooks and requests of the app's that write and read beside them: nothing is missing, doubled
    or somebody else's.
    """
    server = serve(kind, *SITES[site])
    with ThreadPoolExecutor(TOGETHER) as pool:
        done = [*pool.map(lambda number: send(server, number), range(3 * TOGETHER))]
    rows = json.loads(server.tus.request("GET", "/rows").body)
    ids = {path.rpartition("/")[2]: (number, content) for number, (path, content) in enumerate(done)}
    assert rows["notes"] == {upload_id: str(number) for upload_id, (number, _) in ids.items()}
    for upload_id, (_, content) in ids.items():
        assert (server.folder / upload_id).read_bytes() == content
        written = sorted(what for what, about in rows["visits"] if about == upload_id)
        assert written == ["on_complete", "on_create", *["pre_save"] * 4]
    assert sum(what == "request" for what, _ in rows["visits"]) >= len(done) * 9
    assert "Traceback" not in server.log.read_text()


@pytest.mark.live
def test_chunks_that_come_together_make_one_file(serve: Callable[..., Memory]) -> None:
    """flow.js: eight chunks of each of two files at once, under the server that takes most at a time."""
    server = serve("gthread", *SITES["flask-sqlalchemy"])
    content = random.Random(1).randbytes(TOGETHER * 5_000)

    def send_chunk(place: tuple[int, str]) -> bool:
        number, name = place
        parameters = {
            "flowChunkNumber": number,
            "flowChunkSize": 5_000,
            "flowTotalSize": len(content),
            "flowTotalChunks": TOGETHER,
            "flowIdentifier": name,
            "flowFilename": name,
            "flowRelativePath": name,
        }
        chunk = content[(number - 1) * 5_000 : number * 5_000]
        fields = {"Content-Type": "application/octet-stream"}
        answer = server.tus.request("POST", f"/flow/?{urlencode(parameters)}", fields, chunk)
        assert answer.status == 200, answer
        return bool(json.loads(answer.body)["complete"])

    with ThreadPoolExecutor(2 * TOGETHER) as pool:
        told = [*pool.map(send_chunk, product(range(1, TOGETHER + 1), ["a", "b"]))]
    assert any(told)
    rows = json.loads(server.tus.request("GET", "/rows").body)
    assert sorted(rows["notes"].values()) == ["a", "b"]
    for upload_id in rows["notes"]:
        assert (server.folder / upload_id).read_bytes() == content
        written = [what for what, about in rows["visits"] if about == upload_id]
        assert sorted(written) == ["on_complete", "on_create", *["pre_save"] * TOGETHER]


def bound(app: Flask, uri: str, **options: Any) -> Any:
    """Sessions of SQLAlchemy alone."""
    engine = create_engine(uri, connect_args={"check_same_thread": False}, **options)
    return scoped_session(sessionmaker(engine))


@pytest.mark.parametrize(
    ("uri", "pool"),
    [
        *product(["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"], [NullPool, QueuePool]),
        (SHARED, NullPool),
    ],
)
def test_what_cannot_be_shared_is_refused_at_start(app: Flask, uri: str, pool: type[Any]) -> None:
    """Where each connection has a database of its own, or none that lasts, the error says what to do."""
    with pytest.raises(ConfigurationError, match="in memory.*Use a file"):
        FlaskResumable(app, model=Upload, db=bound(app, uri, poolclass=pool))


def test_one_connection_for_all_is_no_trouble(app: Flask) -> None:
    """A pool of one hands its only connection from thread to thread by itself."""
    FlaskResumable(app, model=Upload, db=bound(app, "sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0))


def test_a_file_that_looks_like_memory_is_a_file(app: Flask, tmp_path: Path) -> None:
    """With ``creator=``, the URL says nothing."""

    def creator() -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "file.sqlite", check_same_thread=False)

    db = scoped_session(sessionmaker(create_engine("sqlite://", creator=creator, poolclass=NullPool)))
    FlaskResumable(app, model=Upload, db=db)
    Base.metadata.create_all(db.get_bind())
    assert Tus(app.test_client()).upload(b"hello")


@pytest.mark.parametrize("pool", [SingletonThreadPool, StaticPool])
def test_tests_in_one_thread_go_on_as_ever(app: Flask, pool: type[Any]) -> None:
    """A test client in the thread that has made the tables, beside a session that is open all the time."""
    db = bound(app, "sqlite://", poolclass=pool)
    Base.metadata.create_all(db.get_bind())
    FlaskResumable(app, model=Upload, db=db)
    with sessionmaker(db.get_bind())() as outer:
        assert outer.scalar(text("SELECT count(*) FROM uploads")) == 0
        tus = Tus(app.test_client())
        url = tus.upload(b"hello")
        assert outer.scalar(text("SELECT count(*) FROM uploads")) == 1
        assert tus.delete(url).status_code == 204
        db.remove()


@pytest.mark.parametrize("uri", ["sqlite://", SHARED])
def test_a_second_thread_is_told(app: Flask, caplog: pytest.LogCaptureFixture, uri: str) -> None:
    """SQLAlchemy's own choice of a pool for databases in memory: the request is refused, and the log says why."""
    db = bound(app, uri, poolclass=SingletonThreadPool)
    Base.metadata.create_all(db.get_bind())
    FlaskResumable(app, model=Upload, db=db)
    tus = Tus(app.test_client())
    tus.upload(b"hello")
    with caplog.at_level(logging.ERROR), ThreadPoolExecutor(1) as pool_of_threads:
        answer = pool_of_threads.submit(lambda: tus.create(5)).result()
    assert answer.status_code == 503
    assert "StaticPool" not in answer.text
    assert "only one thread can use it" in caplog.text
    assert tus.create(5).status_code == 201


def test_who_never_lets_go_is_named(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread that keeps its session open holds the others up for a while; then they are told, and go on later."""
    monkeypatch.setattr(turns, "PATIENCE", 0.2)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///:memory:"
    db = SQLAlchemy(app)
    FlaskResumable(app, model=SQLAlchemyModel, db=db)
    tus = Tus(app.test_client())
    url = tus.new(5)
    is_open, may_close = threading.Event(), threading.Event()

    def claimed() -> None:
        with app.app_context():
            db.session.execute(text("SELECT 1"))
            is_open.set()
            may_close.wait(30)

    with ThreadPoolExecutor(1) as pool:
        claiming = pool.submit(claimed)
        assert is_open.wait(30)
        assert tus.patch(url, 0, b"hello").status_code == 503
        assert "Only one thread can use it at a time" in caplog.text
        may_close.set()
        claiming.result()
    assert tus.patch(url, 0, b"hello").status_code == 204
    with app.app_context():
        db.engine.dispose()


def test_turns_outlive_the_connections(app: Flask) -> None:
    """After ``engine.dispose()`` there is a new pool, with which threads take turns, too."""
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///:memory:"
    db = SQLAlchemy(app)
    FlaskResumable(app, model=SQLAlchemyModel, db=db)
    with app.app_context():
        assert isinstance(db.engine.pool, turns.TakesTurns)
        assert isinstance(db.engine.pool, StaticPool)
        before = db.engine.pool.turns
        db.engine.dispose()
        assert isinstance(db.engine.pool, turns.TakesTurns)
        assert db.engine.pool.turns is before


def test_files_are_left_alone(app: Flask, tmp_path: Path) -> None:
    """SQLite itself sees to it there."""
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.sqlite'}"
    db = SQLAlchemy(app)
    FlaskResumable(app, model=SQLAlchemyModel, db=db)
    with app.app_context():
        assert type(db.engine.pool) is QueuePool
