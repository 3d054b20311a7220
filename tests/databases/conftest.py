"""One server of each kind for the whole run, started when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Protocol

import pytest

from .live_app import Database
from .live_app import LiveApp
from .servers import DatabaseServer
from .servers import MariaDB
from .servers import MongoWire
from .servers import PostgreSQL


def started(kind: type[DatabaseServer]) -> Iterator[DatabaseServer]:
    """A server; the test is skipped if it is not installed."""
    server = kind()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[DatabaseServer]:
    """A PostgreSQL server."""
    yield from started(PostgreSQL)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    """A MariaDB server."""
    yield from started(MariaDB)


@pytest.fixture(scope="session")
def mongo() -> Iterator[DatabaseServer]:
    """A MongoDB-wire server."""
    yield from started(MongoWire)


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a SQLite file is."""
    return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'state.sqlite'}"


DATABASES = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("postgresql", "mariadb", "mongo")]
KINDS: dict[str, type[DatabaseServer]] = {"postgresql": PostgreSQL, "mariadb": MariaDB, "mongo": MongoWire}


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> DatabaseServer:
    """Each server, to be left alive."""
    server: DatabaseServer = request.getfixturevalue(request.param)
    return server


@dataclass
class DatabaseFile:
    """SQLite's."""

    uri: str


@pytest.fixture(params=[*DATABASES, "sqlite"])
def database_or_file(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Each server, to be left alive, and SQLite."""
    if request.param == "sqlite":
        return DatabaseFile(f"sqlite:///{tmp_path / 'app.sqlite'}")
    server: DatabaseServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture(params=DATABASES)
def own_database(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """Each server, for this test alone, to be killed."""
    yield from started(KINDS[request.param])


class Serve(Protocol):
    """``serve(database, "--preload", pool=1, LEASE=2)``: options are gunicorn's, upper-case names settings."""

    def __call__(self, database: Database, *options: str, pool: int = 5, **settings: Any) -> LiveApp: ...


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start the app on a database, under gunicorn."""
    running: list[LiveApp] = []

    def start(database: Database, *options: str, pool: int = 5, **settings: Any) -> LiveApp:
        server = LiveApp(database, tmp_path / f"app{len(running)}", *options, pool=pool, **settings)
        running.append(server)
        server.start()
        return server

    yield start
    for server in running:
        server.stop()
        print(server.log.read_text()[-8000:])  # shown if the test has failed
