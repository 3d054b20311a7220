"""SQLite databases that threads share one connection to, or one cache: they take turns.

SQLite keeps transactions apart by connection. Threads on the same one commit and roll back each other's work, and read
each other's rows; so do connections with a shared cache, but for errors in between. Both are what a database in memory
takes to be seen by more than one thread. So from its first connection to its last, a thread has the database to itself:
the extension, the app's own sessions, and hooks that work in these.
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
from .engines import TROUBLE

PATIENCE = 30.0  # seconds that a thread waits for its turn, as long as for a connection of a pool
_POLL = 0.001  # seconds

_REMEDY = "Name a file, or give the engine poolclass=StaticPool and connect_args={'check_same_thread': False}."


class Turns:
    """Whose turn it is: of a thread, until all connections that it has taken from the pool are back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._awaited = 0  # connections that the thread is about to take
        self._taken: list[ref[PoolProxiedConnection]] = []
        leave_when_forked(self)

    def begin(self) -> None:
        """Wait until no other thread has a connection.

        :raises PoolTimeout: One does not let go.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._begin_now():
            if time.monotonic() > deadline:
                raise PoolTimeout(
                    f"Another thread has used this SQLite database for {PATIENCE:.0f} seconds, which one thread at a "
                    "time can do: it is in memory, or its connections share a cache. Let it end its transactions "
                    "sooner, or use a file."
                )
            time.sleep(_POLL)

    def _begin_now(self) -> bool:
        thread = threading.get_ident()
        with self._lock:
            # Looked at, not counted: a connection may come back by way of the garbage collector, or not at all.
            self._taken = [taken for taken in self._taken if _is_in_use(taken())]
            if thread != self._thread and (self._taken or self._awaited):
                return False
            self._thread = thread
            self._awaited += 1
            return True

    def note(self, connection: PoolProxiedConnection | None) -> None:
        """What came of it: a connection, or none."""
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
    """Mixed into the class of a pool."""

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
    """See to it that threads can share the database of ``engine``, if it is one that they get in each other's way in.

    :param name: What the app has named it by.
    :return: What is to be called in each thread that uses it, if anything.
    :raises ConfigurationError: They cannot.
    """
    pool = engine.pool
    if engine.dialect.name != "sqlite" or isinstance(pool, TakesTurns):
        return None
    is_in_memory, is_shared = _is_in_memory(engine), "shared" in str(engine.url.query.get("cache"))
    if is_in_memory and is_shared and isinstance(pool, NullPool):
        raise ConfigurationError(f"{name} is in memory, and with NullPool it is gone after each statement. {_REMEDY}")
    if is_in_memory and isinstance(pool, SingletonThreadPool):
        return _OneThread(engine, name).check
    if isinstance(pool, StaticPool) or is_shared:
        turns = Turns()
        pool.__class__ = type(type(pool).__name__, (TakesTurns, type(pool)), {})
        vars(pool)["turns"] = turns
    elif is_in_memory and not _has_one_connection(pool) and _is_empty_elsewhere(engine):
        kind = type(pool).__name__
        raise ConfigurationError(f"{name} is in memory, and each connection of a {kind} has its own. {_REMEDY}")
    return None


def _is_in_memory(engine: Engine) -> bool:
    name = engine.url.database or ":memory:"
    return name == ":memory:" or name.startswith("file::memory:") or engine.url.query.get("mode") == "memory"


def _has_one_connection(pool: Pool) -> bool:
    if isinstance(pool, QueuePool):
        return pool.size() == 1 and getattr(pool, "_max_overflow", None) == 0
    return isinstance(pool, AssertionPool)


def _is_empty_elsewhere(engine: Engine) -> bool:
    """Whether the database is where its URL says: ``creator=`` may have made it a file."""
    with engine.connect() as connection:
        return not any(row[2] for row in connection.exec_driver_sql("PRAGMA database_list"))


class _OneThread:
    """For databases of which every thread has its own, all of them empty but one: fine for tests.

    With a shared cache they would be the same, but this pool closes connections that other threads are using.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._thread: int | None = None

    def check(self) -> None:
        """Refuse to go on in another thread."""
        thread = threading.get_ident()
        if self._thread is None:
            self._thread = thread
        if thread != self._thread and _is_empty_elsewhere(self._engine):
            raise Unavailable(TROUBLE) from ConfigurationError(
                f"{self._name} is in memory, and with SingletonThreadPool no two threads can use it. {_REMEDY}"
            )
