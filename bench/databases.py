"""Databases for the app: a SQLite file, or a new database on a server that is started once for all runs."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from bench.measure import available_memory
from bench.measure import MEMORY
from bench.measure import NotAvailable
from bench.measure import Tree
from bench.units import GIB
from tests.databases.servers import DatabaseServer
from tests.databases.servers import MariaDB
from tests.databases.servers import PostgreSQL
from tests.prerequisites import Missing

if TYPE_CHECKING:
    from sqlalchemy import Engine

TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}
_SERVERS: dict[str, type[DatabaseServer]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}
_DRIVERS = {"postgresql": "psycopg", "mariadb": "pymysql"}
_PATIENCE = 60  # seconds
_ENOUGH = 4 * GIB  # of available memory, for a server to keep its files on the tmpfs

_running: dict[str, DatabaseServer] = {}


@dataclass(frozen=True)
class Database:
    """A database that only the server under test uses."""

    uri: str
    tree: Tree | None = None  # of the database's server

    @cached_property
    def engine(self) -> Engine:
        """For looking into the database."""
        return create_engine(self.uri)

    def rows(self) -> list[str]:
        """The id of the upload that each row of the app is about."""
        with self.engine.connect() as connection:
            return list(connection.exec_driver_sql("SELECT upload FROM document").scalars())

    def wait_for_rows(self, count: int) -> None:
        """Wait until there are this many rows: some servers answer the client before they tell the app."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(DBAPIError), self.engine.connect() as connection:  # no table yet: the app is still starting
                if connection.exec_driver_sql("SELECT count(*) FROM document").scalar_one() >= count:
                    return
            time.sleep(0.01)


@contextmanager
def database(kind: str, home: Path) -> Iterator[Database]:
    """A new, empty database, until the end of the block.

    :param kind: A key of ``TITLES``.
    :param home: The folder for a database that is a file.
    :raises NotAvailable: It is not installed.
    """
    made = _file(home) if kind == "sqlite" else _on_server(kind)
    with made as found:
        try:
            yield found
        finally:
            found.engine.dispose()


@contextmanager
def embedded(home: Path) -> Iterator[Database]:
    """The extension's own SQLite file, in an app's instance folder, until the end of the block."""
    found = Database(f"sqlite:///{home / 'resumable.sqlite'}")
    try:
        yield found
    finally:
        found.engine.dispose()


@contextmanager
def _file(home: Path) -> Iterator[Database]:
    path = home / "app.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # of the file, for all who open it
    yield Database(f"sqlite:///{path}")


@contextmanager
def _on_server(kind: str) -> Iterator[Database]:
    server, name = _server(kind), f"bench_{secrets.token_hex(6)}"
    admin = create_engine(server.uri, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    uri = make_url(server.uri).set(database=name).render_as_string(hide_password=False)
    yield Database(uri, Tree((server.pid,)))
    # Not after an error: a statement that is still running would have to end first, and the server goes away anyway.
    with admin.connect() as connection:
        # Connections that the server under test has left are closed.
        connection.exec_driver_sql(f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgresql" else ""))
    admin.dispose()


def _server(kind: str) -> DatabaseServer:
    """The running server of that kind.

    :raises NotAvailable: It is not installed, or does not start.
    """
    if kind not in _running:
        if find_spec(_DRIVERS[kind]) is None:
            raise NotAvailable(f"{_DRIVERS[kind]} is not installed; see the extra `bench`")
        try:
            _running[kind] = _SERVERS[kind](MEMORY if _has_memory() else None)
        except (Missing, AssertionError) as error:
            raise NotAvailable(str(error)) from error
    return _running[kind]


def _has_memory() -> bool:
    return os.access(MEMORY, os.W_OK) and min(available_memory(), shutil.disk_usage(MEMORY).free) > _ENOUGH


def end_servers() -> None:
    """End all database servers, and remove their files."""
    while _running:
        _running.popitem()[1].close()
