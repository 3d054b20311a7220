"""SQLite without SQLAlchemy's work for each statement, which takes ten times as long as SQLite itself."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import Table
from sqlalchemy.exc import IntegrityError

from ...errors import Unavailable
from .database import Run
from .engines import connect
from .engines import db_errors
from .engines import LazyEngine
from .engines import leave_when_forked
from .engines import UNREACHABLE
from .prepared import Prepared
from .prepared import Row
from .rehearsal import rehearse_on_sqlite
from .statements import Parameters

_left: list[Connection] = []  # connections of the parent, kept in a forked child because SQLite forbids closing them

# For all databases, because all have the same dialect: tests make an app for each test.
_compiled: WeakKeyDictionary[Any, Prepared] = WeakKeyDictionary()


class Direct:
    """A SQLite database with a single connection that all threads share; implements :class:`~.database.Database`.

    SQLite lets one connection write at a time, and the others wait longer than the write takes. In addition, they all
    must read again what one connection has written.

    :param durable: Whether changes survive a power failure, if they are meant to. All of them survive ``kill -9``.
    """

    def __init__(self, engine: LazyEngine, *, durable: bool) -> None:
        self._engine = engine
        self._is_durable = durable
        self._is_lasting: bool | None = None  # the current setting of the connection
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._raw: sqlite3.Connection | None = None
        self._prepared: dict[Any, Prepared] = {}
        leave_when_forked(self)

    @property
    def engine(self) -> Engine:
        return self._engine.get()

    @property
    def raw(self) -> sqlite3.Connection:
        """The connection itself, for tests that watch its statements."""
        with self._lock, db_errors():
            return self._raw or self._open()

    @property
    def can_return(self) -> bool:
        return sqlite3.sqlite_version_info >= (3, 35)

    def change(self, statement: Any, parameters: Parameters, *, lasting: bool = True) -> int:
        count: int = self._execute(statement, parameters, self._is_durable and lasting)[0]
        return count

    def exclusively(self, table: Table, name: str, work: Callable[[Run], None]) -> None:
        with self._lock:
            try:
                raw = self._raw or self._open()
                if self._is_durable is not self._is_lasting:
                    self._set_lasting(raw, self._is_durable)
                raw.execute("BEGIN IMMEDIATE")
                try:
                    work(_Run(self, raw))
                    raw.execute("COMMIT")
                except BaseException:
                    if raw.in_transaction:
                        raw.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._failed(self, error) from error

    def rehearse(self, statement: Any, parameters: Parameters) -> int:
        with self._lock:
            try:
                raw = self._raw or self._open()
                prepared = self._prepared.get(statement) or self._prepare(statement)
                delete = partial(raw.execute, prepared.text, prepared.values(parameters))
                return rehearse_on_sqlite(lambda text: raw.execute(text).fetchall(), lambda: delete().rowcount)
            except sqlite3.Error as error:
                raise self._failed(statement, error) from error

    def first(self, query: Any, parameters: Parameters) -> Row | None:
        rows = self._execute(query, parameters, None if query.is_select else False)[1]
        return self._prepared[query].row(rows[0]) if rows else None

    def all(self, query: Any) -> Sequence[Row]:
        with self._lock, db_errors():
            if self._connection is None:
                self._open()
            assert self._connection is not None
            try:
                found = self._connection.execute(query).mappings().all()
                self._connection.rollback()  # ends the transaction that SQLAlchemy believes has begun
            except BaseException:
                self._close()
                raise
            return found

    def peek(self) -> Engine:
        return self._engine.peek()

    def dispose(self) -> None:
        with self._lock:
            self._close()
        self._engine.dispose()

    def leave_connections(self) -> None:
        self._lock = threading.Lock()
        if self._connection is not None:
            _left.append(self._connection)
        self._connection = self._raw = None

    def _execute(self, statement: Any, parameters: Parameters, lasting: bool | None) -> tuple[int, list[Any]]:
        """Execute a statement. Return the number of records that it changed and the rows that it found."""
        with self._lock:
            try:
                raw = self._raw or self._open()
                prepared = self._prepared.get(statement) or self._prepare(statement)
                if lasting is not None and lasting is not self._is_lasting:
                    self._set_lasting(raw, lasting)
                cursor = raw.execute(prepared.text, prepared.values(parameters))
                # Fetch all rows, because an unfinished query would keep seeing the database as it is now.
                return cursor.rowcount, cursor.fetchall() if prepared.returns_rows else []
            except sqlite3.Error as error:
                raise self._failed(statement, error) from error

    def _set_lasting(self, raw: sqlite3.Connection, lasting: bool) -> None:
        self._is_lasting = None  # in case a signal ends this request here
        raw.execute(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
        self._is_lasting = lasting

    def prepared(self, statement: Any) -> Prepared:
        """Return a statement as SQLite takes it."""
        return self._prepared.get(statement) or self._prepare(statement)

    def _failed(self, statement: Any, error: sqlite3.Error) -> Exception:
        """Return the exception to raise for an error of SQLite's."""
        if isinstance(error, sqlite3.IntegrityError):
            return IntegrityError(str(statement), None, error)
        self._close()  # the next statement opens a new one
        return Unavailable(UNREACHABLE)

    def _open(self) -> sqlite3.Connection:
        with db_errors():
            self._connection = connect(self.engine)
        raw = self._connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        self._raw, self._is_lasting = raw, None
        return raw

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
        self._connection = self._raw = None

    def _prepare(self, statement: Any) -> Prepared:
        prepared = _compiled.get(statement)
        if prepared is None:
            prepared = _compiled[statement] = Prepared(statement, self.engine.dialect)
        self._prepared[statement] = prepared
        return prepared


class _Run:
    """Executes statements in a transaction; implements :class:`~.database.Run`."""

    def __init__(self, database: Direct, raw: sqlite3.Connection) -> None:
        self._database = database
        self._raw = raw

    def change(self, statement: Any, parameters: Parameters) -> int:
        return self._raw.execute(self._database.prepared(statement).text, self._values(statement, parameters)).rowcount

    def first(self, query: Any, parameters: Parameters) -> Row | None:
        rows = self._raw.execute(self._database.prepared(query).text, self._values(query, parameters)).fetchall()
        return self._database.prepared(query).row(rows[0]) if rows else None

    def _values(self, statement: Any, parameters: Parameters) -> Any:
        return self._database.prepared(statement).values(parameters)
