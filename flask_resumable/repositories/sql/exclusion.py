"""Work that one owner's requests do one after another, in any process: each database has its own kind of lock for it.

The lock is held in the connection that does the work, so no request needs two connections, and a process that dies
releases it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy import Table
from sqlalchemy import text

from ...errors import ConfigurationError
from ...errors import Unavailable
from .engines import UNREACHABLE
from .prepared import commit

_PATIENCE = 10  # seconds that MySQL and MariaDB wait


@contextmanager
def exclusive(connection: Connection, table: Table, name: str) -> Iterator[None]:
    """Hold the lock ``name`` for the context, and commit what was done in it.

    :raises Unavailable: Others hold the lock for too long.
    :raises ConfigurationError: There is no lock for this kind of database.
    """
    kind = connection.dialect.name
    if kind == "sqlite":
        _begin_to_write(connection, connection.dialect.identifier_preparer.format_table(table))
        yield
        commit(connection)
    elif kind == "postgresql":
        # A snapshot from before the lock was granted would not show what the holder before has written.
        connection.execution_options(isolation_level="READ COMMITTED")
        number = int.from_bytes(_digest(table.fullname, name)[:8], signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)").bindparams(number=number)).close()
        yield
        commit(connection)
    elif kind in ("mysql", "mariadb"):
        # Not locking reads, which would lock the gaps between records: uploads of others would wait, and deadlock.
        digest = _digest(str(connection.engine.url.database), table.fullname, name)
        with _named_lock(connection, f"resumable-{digest.hex()[:40]}"):
            yield
    else:
        raise ConfigurationError(f"Quotas need SQLite, PostgreSQL, MySQL or MariaDB; they do not work with {kind}.")


def _digest(*names: str) -> bytes:
    return hashlib.sha256("\0".join(names).encode()).digest()


def _begin_to_write(connection: Connection, table: str) -> None:
    """Begin a transaction of SQLite's that no other one can write in, before it reads anything.

    A change of no record does that, whoever begins the transaction: the driver, or a listener of the app's. In
    autocommit mode, it does not.
    """
    connection.exec_driver_sql(f"UPDATE {table} SET version = version WHERE id = ''")
    driver = connection.connection.driver_connection
    if driver is not None and not getattr(driver, "in_transaction", True):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _named_lock(connection: Connection, name: str) -> Iterator[None]:
    found = connection.execute(text("SELECT GET_LOCK(:name, :patience)"), {"name": name, "patience": _PATIENCE})
    if found.scalar() != 1:
        raise Unavailable(UNREACHABLE)
    try:
        yield
    finally:
        # If the connection is lost, so is the lock.
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name}).close()
