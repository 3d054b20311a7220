"""Makes threads take turns with SQLite databases when they share a connection or a cache.

SQLite separates transactions by connection. Threads that share one commit and roll back each other's work, and read
each other's rows. Connections with a shared cache do the same, apart from errors in between. An in-memory database
needs one or the other to be visible to several threads. So a thread has the database to itself from its first
connection to its last, in the extension, in the app's own sessions, and in hooks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from weakref import ref

from sqlalchemy import Engine
from sqlalchemy import Pool
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import AssertionPool
from sqlalchemy.pool import NullPool
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.pool import QueuePool
from sqlalchemy.pool import SingletonThreadPool
from sqlalchemy.pool import StaticPool

from ...errors import ConfigurationError
from ...errors import Unavailable
from .engines import leave_when_forked
from .engines import UNREACHABLE

PATIENCE = 30.0  # seconds that a thread waits for its turn; the same as the default timeout of a pool
_POLL = 0.001  # seconds

_REMEDY = "Use a file, or give the engine poolclass=StaticPool and connect_args={'check_same_thread': False}."


class Turns:
    """Gives turns to threads. A turn ends when all connections that the thread took from the pool are back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._awaited = 0  # connections that the thread is just taking
        self._taken: list[ref[PoolProxiedConnection]] = []
        leave_when_forked(self)

    def begin(self) -> None:
        """Wait until no other thread has a connection.

        :raises PoolTimeout: Another thread keeps its connection for too long.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._begin_now():
            if time.monotonic() > deadline:
                raise PoolTimeout(
                    f"Another thread has used this SQLite database for {PATIENCE:.0f} seconds. Only one thread can use "
                    "it at a time, because it is in memory or its connections share a cache. End transactions sooner, "
                    "or use a file."
                )
            time.sleep(_POLL)

    def _begin_now(self) -> bool:
        thread = threading.get_ident()
        with self._lock:
            # Checked, not counted: the garbage collector may return a connection, or nothing at all.
            self._taken = [taken for taken in self._taken if _is_in_use(taken())]
            if thread != self._thread and (self._taken or self._awaited):
                return False
            self._thread = thread
            self._awaited += 1
            return True

    def note(self, connection: PoolProxiedConnection | None) -> None:
        """Note the connection that was taken, or ``None`` if that failed."""
        with self._lock:
            self._awaited -= 1
            if connection is not None:
                self._taken.append(ref(connection))

    def leave_connections(self) -> None:
        self._lock = threading.Lock()
        self._thread, self._awaited, self._taken = None, 0, []


def _is_in_use(connection: PoolProxiedConnection | None) -> bool:
    return connection is not None and connection.is_valid


class TakesTurns(Pool):
    """A mixin for the class of a pool."""

    turns: Turns

    def connect(self) -> PoolProxiedConnection:
        self.turns.begin()
        connection = None
        try:
            connection = super().connect()
        finally:
            self.turns.note(connection)
        return connection

    def recreate(self) -> Pool:
        pool = super().recreate()
        assert isinstance(pool, TakesTurns)
        pool.turns = self.turns
        return pool


def share(engine: Engine, name: str) -> Callable[[], None] | None:
    """Let threads share the database of ``engine`` safely, if they would otherwise get in each other's way.

    :param name: The name of the database in error messages.
    :return: A function to call in each thread that uses the database, if one is needed.
    :raises ConfigurationError: Threads cannot share it.
    """
    pool = engine.pool
    if engine.dialect.name != "sqlite" or isinstance(pool, TakesTurns):
        return None
    is_private, is_shared = is_in_memory(engine), "shared" in str(engine.url.query.get("cache"))
    if is_private and is_shared and isinstance(pool, NullPool):
        raise ConfigurationError(f"{name} is in memory, and NullPool discards it after each statement. {_REMEDY}")
    if is_private and isinstance(pool, SingletonThreadPool):
        return _OneThread(engine, name).check
    if isinstance(pool, StaticPool) or is_shared:
        turns = Turns()
        pool.__class__ = type(type(pool).__name__, (TakesTurns, type(pool)), {})
        vars(pool)["turns"] = turns
    elif is_private and not _has_one_connection(pool) and _is_empty_elsewhere(engine):
        kind = type(pool).__name__
        raise ConfigurationError(f"{name} is in memory, and each connection of a {kind} gets its own copy. {_REMEDY}")
    return None


def is_in_memory(engine: Engine) -> bool:
    """Whether an SQLite database is in memory, according to its URL."""
    name = engine.url.database or ":memory:"
    return name == ":memory:" or name.startswith("file::memory:") or engine.url.query.get("mode") == "memory"


def _has_one_connection(pool: Pool) -> bool:
    if isinstance(pool, QueuePool):
        return pool.size() == 1 and getattr(pool, "_max_overflow", None) == 0
    return isinstance(pool, AssertionPool)


def _is_empty_elsewhere(engine: Engine) -> bool:
    """Whether the database is really in memory. With ``creator=``, it may be a file whatever its URL says."""
    with engine.connect() as connection:
        return not any(row[2] for row in connection.exec_driver_sql("PRAGMA database_list"))


class _OneThread:
    """Protects databases of which each thread has its own, all empty but one. That is fine for tests.

    A shared cache would make them the same database, but this pool closes connections that other threads are using.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._thread: int | None = None

    def check(self) -> None:
        """Refuse to continue in a second thread."""
        thread = threading.get_ident()
        if self._thread is None:
            self._thread = thread
        if thread != self._thread and _is_empty_elsewhere(self._engine):
            raise Unavailable(UNREACHABLE) from ConfigurationError(
                f"{self._name} is in memory, and with SingletonThreadPool only one thread can use it. {_REMEDY}"
            )
