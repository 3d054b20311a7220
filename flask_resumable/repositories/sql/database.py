"""Executes statements, each in its own transaction, so that nothing is stale and nothing stays locked."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Protocol
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError

from .engines import connect
from .engines import db_errors
from .engines import LazyEngine
from .rehearsal import rehearse
from .statements import Parameters

T = TypeVar("T")
Row = Mapping[Any, Any]


class Repeated(Exception):
    """A repeated statement was refused. The first attempt may have succeeded."""


class Database(Protocol):
    """Executes statements. Errors other than those of the statement itself become ``Unavailable``."""

    @property
    def engine(self) -> Engine:
        """The engine that SQLAlchemy connects with."""
        ...

    def change(self, statement: Any, parameters: Parameters, *, lasting: bool = True) -> int:
        """Execute one of :class:`~.statements.Statements`, and return the number of records that matched.

        :param lasting: Whether the change must survive a power failure, where that can be chosen.
        :raises IntegrityError: A record with that key exists.
        :raises Repeated: The same, but the record may come from a first attempt of this statement.
        """
        ...

    def rehearse(self, statement: Any, parameters: Parameters) -> int:
        """Execute a statement and undo it, and return the number of records that matched.

        :raises IntegrityError: The database refuses the statement, immediately or on commit.
        """
        ...

    def first(self, query: Any, parameters: Parameters) -> Row | None:
        """Return the first row that one of :class:`~.statements.Statements` finds, or ``None``."""
        ...

    def all(self, query: Any) -> Sequence[Row]:
        """Return all rows that a query finds."""
        ...

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        ...


class Pooled:
    """Any database, through a pool of connections; implements :class:`Database`."""

    def __init__(self, engine: LazyEngine) -> None:
        self._engine = engine

    @property
    def engine(self) -> Engine:
        return self._engine.get()

    def dispose(self) -> None:
        self._engine.dispose()

    def change(self, statement: Any, parameters: Parameters, *, lasting: bool = True) -> int:
        return self._run(lambda connection: connection.execute(statement, parameters).rowcount)

    def rehearse(self, statement: Any, parameters: Parameters) -> int:
        return self._run(lambda connection: rehearse(connection, statement, parameters))

    def first(self, query: Any, parameters: Parameters) -> Row | None:
        row = self._run(lambda connection: connection.execute(query, parameters).first())
        return None if row is None else row._mapping

    def all(self, query: Any) -> Sequence[Row]:
        return self._run(lambda connection: connection.execute(query).mappings().all())

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
                raise Repeated from error

    def _run_once(self, work: Callable[[Connection], T]) -> T:
        with connect(self.engine) as connection:
            done = work(connection)
            # The app may begin transactions even in autocommit, as SQLAlchemy's recipe for savepoints on SQLite does.
            if getattr(connection.connection.driver_connection, "in_transaction", False):
                connection.commit()
            return done
