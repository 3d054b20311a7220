"""Whether the database would let a record go, found out before any bytes are lost.

A foreign key of the app's, or a trigger, may forbid it. So the deletion is executed and undone. What is checked only on
a commit is checked before that.
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

Say = Callable[[str], Sequence[Sequence[Any]]]  # executes a text: the rows

_SAVEPOINT = "resumable_rehearsal"
_DEFERRING = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%DEFERRED%'"


def rehearse(connection: Connection, statement: Any, parameters: Parameters) -> int:
    """Execute a statement on a connection in autocommit and undo it; how many records it was about.

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
    """Do ``act`` and undo it.

    Only a commit checks foreign keys that are deferred, and there is no other way to make SQLite do so: violations are
    counted with it and without it.
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
        with suppress(DBAPIError, sqlite3.Error):  # a trigger has rolled everything back already
            say(f"ROLLBACK TO {_SAVEPOINT}")
            say(f"RELEASE {_SAVEPOINT}")


def _violations(say: Say, tables: Sequence[str]) -> int:
    return sum(len(say('PRAGMA foreign_key_check("{}")'.format(table.replace('"', '""')))) for table in tables)
