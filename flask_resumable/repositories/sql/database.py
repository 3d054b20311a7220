"""Executes statements, each in its own transaction, so that nothing is stale and nothing stays locked."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Protocol
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError

from .engines import connect
from .engines import db_errors
from .engines import LazyEngine
from .exclusion import exclusive
from .prepared import can_prepare
from .prepared import can_return
from .prepared import commit
from .prepared import execute
from .prepared import needs_sqlalchemy
from .prepared import Prepared
from .prepared import Row
from .rehearsal import rehearse
from .statements import Parameters

T = TypeVar("T")


class RetryConflict(Exception):
    """A repeated statement was refused. The first attempt may have succeeded."""


class Run(Protocol):
    """Executes statements in one transaction; see :meth:`Database.exclusively`."""

    def change(self, statement: Any, parameters: Parameters) -> int: ...

    def first(self, query: Any, parameters: Parameters) -> Row | None: ...


class Database(Protocol):
    """Executes statements. Errors other than those of the statement itself become ``Unavailable``."""

    @property
    def engine(self) -> Engine:
        """The engine that SQLAlchemy connects with."""
        ...

    @property
    def can_return(self) -> bool:
        """Whether a change can return the changed record; see :meth:`first`."""
        ...

    def change(self, statement: Any, parameters: Parameters, *, lasting: bool = True) -> int:
        """Execute one of :class:`~.statements.Statements`, and return the number of records that matched.

        :param lasting: Whether the change must survive a power failure, where that can be chosen.
        :raises IntegrityError: A record with that key exists.
        :raises RetryConflict: The same, but the record may come from a first attempt of this statement.
        """
        ...

    def rehearse(self, statement: Any, parameters: Parameters) -> int:
        """Execute a statement and undo it, and return the number of records that matched.

        :raises IntegrityError: The database refuses the statement, immediately or on commit.
        """
        ...

    def exclusively(self, table: Table, name: str, work: Callable[[Run], None]) -> None:
        """Do some work while no other process does work of the same name, and commit it.

        :raises IntegrityError: See :meth:`change`, which raises :exc:`RetryConflict` as well.
        """
        ...

    def first(self, query: Any, parameters: Parameters) -> Row | None:
        """Return the first row that one of :class:`~.statements.Statements` finds, or ``None``.

        A change that returns the changed record need not survive a power failure.
        """
        ...

    def all(self, query: Any) -> Sequence[Row]:
        """Return all rows that a query finds."""
        ...

    def peek(self) -> Engine:
        """Return the engine without preparing the database, which may not exist yet."""
        ...

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        ...


class Pooled:
    """Any database, through a pool of connections; implements :class:`Database`."""

    def __init__(self, engine: LazyEngine) -> None:
        self._engine = engine
        self._can_prepare: bool | None = None
        self._prepared: dict[Any, Prepared] = {}

    @property
    def engine(self) -> Engine:
        return self._engine.get()

    @property
    def can_return(self) -> bool:
        return can_return(self.engine.dialect)

    def peek(self) -> Engine:
        return self._engine.peek()

    def dispose(self) -> None:
        self._engine.dispose()

    def change(self, statement: Any, parameters: Parameters, *, lasting: bool = True) -> int:
        return self._run(lambda connection: self.change_in(connection, statement, parameters))

    def change_in(self, connection: Connection, statement: Any, parameters: Parameters) -> int:
        """The same as :meth:`change` in a transaction of the app's, which neither begins nor ends here."""
        prepared = self._prepare(connection, statement)
        if prepared is None:
            return connection.execute(statement, parameters).rowcount
        return execute(connection, prepared, parameters)[0]

    def exclusively(self, table: Table, name: str, work: Callable[[Run], None]) -> None:
        def run(connection: Connection) -> None:
            with exclusive(connection, table, name):
                work(_Run(self, connection))

        self._run(run)

    def rehearse(self, statement: Any, parameters: Parameters) -> int:
        return self._run(lambda connection: rehearse(connection, statement, parameters))

    def first(self, query: Any, parameters: Parameters) -> Row | None:
        return self._run(lambda connection: self.first_in(connection, query, parameters))

    def first_in(self, connection: Connection, query: Any, parameters: Parameters) -> Row | None:
        """The same as :meth:`first` in a transaction that does not end here."""
        prepared = self._prepare(connection, query)
        if prepared is None:
            row = connection.execute(query, parameters).first()
            return None if row is None else row._mapping
        rows = execute(connection, prepared, parameters)[1]
        return prepared.row(rows[0]) if rows else None

    def all(self, query: Any) -> Sequence[Row]:
        return self._run(lambda connection: connection.execute(query).mappings().all())

    def _prepare(self, connection: Connection, statement: Any) -> Prepared | None:
        """Return the prepared statement, or ``None`` if SQLAlchemy must execute it."""
        if self._can_prepare is None:
            self._can_prepare = can_prepare(connection.dialect)
        if not self._can_prepare or needs_sqlalchemy(connection):
            return None
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = Prepared(statement, connection.dialect)
        return None if prepared.has_defaults else prepared

    def _run(self, work: Callable[[Connection], T]) -> T:
        """Do some work, and repeat it once if its connection had died in the pool.

        All statements may be repeated, because they are conditional.
        """
        with db_errors():
            try:
                return self._run_once(work)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            try:
                return self._run_once(work)
            except IntegrityError as error:
                raise RetryConflict from error

    def _run_once(self, work: Callable[[Connection], T]) -> T:
        with connect(self.engine) as connection:
            done = work(connection)
            # SQLite has begun one, and the app may begin transactions even in autocommit, as SQLAlchemy's recipe for
            # savepoints on SQLite does.
            if getattr(connection.connection.driver_connection, "in_transaction", False):
                commit(connection)
            return done


class _Run:
    """Executes statements in the transaction of a connection; implements :class:`Run`."""

    def __init__(self, database: Pooled, connection: Connection) -> None:
        self._database = database
        self._connection = connection

    def change(self, statement: Any, parameters: Parameters) -> int:
        return self._database.change_in(self._connection, statement, parameters)

    def first(self, query: Any, parameters: Parameters) -> Row | None:
        return self._database.first_in(self._connection, query, parameters)
