"""Engines of the app's or the extension's own database, and errors of their connections."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import SingletonThreadPool
from sqlalchemy.pool import StaticPool

from ...errors import Unavailable

UNREACHABLE = "The server cannot reach its records right now; try again later."


class LazyEngine:
    """An engine that is looked up on first use, in autocommit mode unless it is SQLite's.

    :param prepare: Called once with the engine, to prepare the database. If it returns a function, that is called
        before each use.
    """

    def __init__(
        self, find: Callable[[], Engine], prepare: Callable[[Engine], Callable[[], None] | None] | None = None
    ) -> None:
        self._find = find
        self._prepare = prepare
        self._check: Callable[[], None] | None = None
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        leave_when_forked(self)

    def get(self) -> Engine:
        if self._engine is None:
            with self._lock:
                if self._engine is None:
                    found = self._find()
                    if self._prepare is not None:
                        self._check = self._prepare(found)
                    # If it is not the engine's default, autocommit is switched on and off for each connection. Other
                    # databases would be asked three times for each statement. SQLite does not care.
                    is_default = getattr(found.dialect, "_on_connect_isolation_level", None) == "AUTOCOMMIT"
                    is_needed = found.dialect.name != "sqlite" and not is_default
                    self._engine = found.execution_options(isolation_level="AUTOCOMMIT") if is_needed else found
        if self._check is not None:
            self._check()
        return self._engine

    def peek(self) -> Engine:
        """Return the engine without preparing the database, which may not exist yet."""
        return self._engine or self._find()

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        if self._engine is not None:
            self._engine.dispose()

    def leave_connections(self) -> None:
        self._lock = threading.Lock()
        with suppress(Exception):  # without an engine there are no connections, either
            engine = self._engine or self._find()
            if not isinstance(engine.pool, StaticPool | SingletonThreadPool):  # in-memory databases, copied by fork
                engine.dispose(close=False)


class KeepsConnections(Protocol):
    """An object with connections that a fork copies."""

    def leave_connections(self) -> None:
        """Forget all connections. Called after a fork in the child: they belong to the parent, which may use them."""
        ...


_keepers: WeakSet[KeepsConnections] = WeakSet()


def leave_when_forked(keeper: KeepsConnections) -> None:
    """Call ``keeper.leave_connections()`` after each fork in the child."""
    _keepers.add(keeper)


def _after_fork() -> None:
    for keeper in [*_keepers]:
        keeper.leave_connections()


os.register_at_fork(after_in_child=_after_fork)


def connect(engine: Engine) -> Connection:
    """Return a connection from the pool.

    :raises DBAPIError: There is none, or it has died. In that case the pool has been emptied.
    """
    try:
        return engine.connect()
    except engine.dialect.loaded_dbapi.Error as error:
        # PyMySQL sends a request when autocommit is set, and SQLAlchemy does not wrap its errors there.
        engine.dispose()
        raise OperationalError("autocommit", None, error, connection_invalidated=True) from error


def is_trouble(error: BaseException) -> bool:
    """Whether the database caused the error, and not the code that uses it."""
    if isinstance(error, OperationalError | PoolTimeout):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


@contextmanager
def hook_db_errors() -> Iterator[None]:
    """Turn database errors of a hook into ``Unavailable``, because they are not bugs of the hook."""
    try:
        yield
    except BaseException as error:
        if is_trouble(error):
            raise Unavailable(UNREACHABLE) from error
        raise


@contextmanager
def db_errors() -> Iterator[None]:
    """Turn errors of the database into ``Unavailable``, except those of a constraint."""
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeout, OSError) as error:
        raise Unavailable(UNREACHABLE) from error
