"""Executing statements: each a transaction of its own, so that nothing is stale and nothing stays locked."""

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
from .engines import LazyEngine
from .engines import translated
from .rehearsal import rehearse
from .statements import Parameters

T = TypeVar("T")
Row = Mapping[Any, Any]


class Repeated(Exception):
    """A statement was refused when it was executed once more: the first time, it may have got through."""


class Database(Protocol):
    """Executes statements. What fails for other reasons than the statement's is ``Unavailable``."""

    @property
    def engine(self) -> Engine:
        """How SQLAlchemy reaches it."""
        ...

    def change(self, statement: Any, parameters: Parameters, *, lasting: bool = True) -> int:
        """Execute one of :class:`~.statements.Statements`; how many records it was about.

        :param lasting: Whether it must survive a loss of power, where that can be chosen.
        :raises IntegrityError: There is such a record already.
        :raises Repeated: The same, but it may have come from this very statement.
        """
        ...

    def rehearse(self, statement: Any, parameters: Parameters) -> int:
        """The same, and undo it: nothing has changed when this returns.

        :raises IntegrityError: The database refuses it, now or on the commit.
        """
        ...

    def first(self, query: Any, parameters: Parameters) -> Row | None:
        """What one of :class:`~.statements.Statements` finds."""
        ...

    def all(self, query: Any) -> Sequence[Row]:
        """All that any query finds."""
        ...

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        ...


class Pooled:
    """Any database, through a pool of connections; see :class:`Database`."""

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
        """If it meets a connection that has died in the pool, it is done once more.

        All statements may be repeated: they are conditional.
        """
        with translated():
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
            # SQLAlchemy's recipe for savepoints on SQLite has the app say BEGIN by itself, in autocommit as well.
            if getattr(connection.connection.driver_connection, "in_transaction", False):
                connection.commit()
            return done
