"""Finds out whether the database would delete a record, before any bytes are removed.

A foreign key or trigger of the app may forbid it. So the deletion is executed and undone, and constraints that are
normally checked on commit are checked before that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError

from .statements import Parameters

Say = Callable[[str], Sequence[Sequence[Any]]]  # executes a statement and returns its rows

_SAVEPOINT = "resumable_rehearsal"
_DEFERRING = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%DEFERRED%'"


def rehearse(connection: Connection, statement: Any, parameters: Parameters) -> int:
    """Execute a statement on a connection in autocommit mode, undo it, and return the number of records that matched.

    :raises DBAPIError: The database refuses it.
    """
    if connection.dialect.name == "sqlite":

        def say(text: str) -> Sequence[Sequence[Any]]:
            result = connection.exec_driver_sql(text)
            return result.all() if result.returns_rows else ()

        return rehearse_on_sqlite(say, lambda: connection.execute(statement, parameters).rowcount)
    connection = connection.execution_options(isolation_level=connection.dialect.default_isolation_level)
    with connection.begin() as transaction:
        count = connection.execute(statement, parameters).rowcount
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
        transaction.rollback()
    return count


def rehearse_on_sqlite(say: Say, act: Callable[[], int]) -> int:
    """Call ``act`` and undo it.

    SQLite checks deferred foreign keys on commit only. So violations are counted with the change and without it.
    """
    say(f"SAVEPOINT {_SAVEPOINT}")
    try:
        count = act()
        if say("PRAGMA foreign_keys")[0][0] and (tables := [row[0] for row in say(_DEFERRING)]):
            after = _violations(say, tables)
            say(f"ROLLBACK TO {_SAVEPOINT}")
            if after > _violations(say, tables):
                raise IntegrityError("DELETE", None, sqlite3.IntegrityError("FOREIGN KEY constraint failed"))
        return count
    finally:
        with suppress(DBAPIError, sqlite3.Error):  # a trigger may already have rolled everything back
            say(f"ROLLBACK TO {_SAVEPOINT}")
            say(f"RELEASE {_SAVEPOINT}")


def _violations(say: Say, tables: Sequence[str]) -> int:
    return sum(len(say('PRAGMA foreign_key_check("{}")'.format(table.replace('"', '""')))) for table in tables)
