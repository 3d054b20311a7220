"""How the app reaches its SQL database, and how the extension may use that."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from typing import Any
from typing import Protocol
from weakref import WeakKeyDictionary
from weakref import WeakSet

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import SingletonThreadPool
from sqlalchemy.pool import StaticPool

from ..errors import Unavailable

TROUBLE = "The server cannot reach its records right now; try again later."


class Sessions(Protocol):
    """Where statements of the extension go, and the session in which hooks of the app work."""

    @property
    def engine(self) -> Engine:
        """For the extension's own statements, each committed by itself."""
        ...

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        ...

    def app_session(self) -> Any:
        """A context manager: the app's own session."""
        ...

    def let_go(self) -> None:
        """Give the connection of the app's session back, with what it has written so far committed."""
        ...


class LazyEngine:
    """An engine in autocommit, found when it is first needed, then once more to prepare the database."""

    def __init__(self, find: Callable[[], Engine], prepare: Callable[[Engine], None] | None = None) -> None:
        self._find = find
        self._prepare = prepare
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        _engines.add(self)

    def get(self) -> Engine:
        if self._engine is None:
            with self._lock:
                if self._engine is None:
                    found = self._find()
                    if self._prepare is not None:
                        self._prepare(found)
                    # Where it is not the engine's own way, each connection is switched over and back: statements more.
                    is_ours = getattr(found.dialect, "_on_connect_isolation_level", None) == "AUTOCOMMIT"
                    self._engine = found if is_ours else found.execution_options(isolation_level="AUTOCOMMIT")
        return self._engine

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        if self._engine is not None:
            self._engine.dispose()

    def leave_connections(self) -> None:
        """In a process that was forked: the connections in the pool are the parent's, which may go on using them."""
        self._lock = threading.Lock()
        with suppress(Exception):  # then nobody can have connections either
            engine = self._engine or self._find()
            if not isinstance(engine.pool, StaticPool | SingletonThreadPool):  # databases in memory, copied by the fork
                engine.dispose(close=False)


_engines: WeakSet[LazyEngine] = WeakSet()
_guarding: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()  # known of a server once it was asked


def _after_fork() -> None:
    for engine in [*_engines]:
        engine.leave_connections()


os.register_at_fork(after_in_child=_after_fork)


class ScopedSessions:
    """A Flask-SQLAlchemy object's ``db.session``, or any :class:`~sqlalchemy.orm.scoped_session`."""

    def __init__(self, scoped: Any, engine: LazyEngine) -> None:
        self._scoped = scoped
        self._engine = engine

    @property
    def engine(self) -> Engine:
        return self._engine.get()

    def dispose(self) -> None:
        self._engine.dispose()

    @contextmanager
    def app_session(self) -> Iterator[Session]:
        yield self._scoped()

    def let_go(self) -> None:
        if self._scoped.registry.has():
            session = self._scoped()
            if session.in_transaction():
                try:
                    with translated():
                        session.commit()
                except BaseException:
                    session.rollback()
                    raise


class OwnSessions:
    """Sessions that live for one hook: of the embedded database, or of a plain ``sessionmaker``."""

    def __init__(self, make: Callable[[], Session], engine: LazyEngine, *others: LazyEngine) -> None:
        self._make = make
        self._engine = engine
        self._others = others

    @property
    def engine(self) -> Engine:
        return self._engine.get()

    def dispose(self) -> None:
        for engine in (self._engine, *self._others):
            engine.dispose()

    @contextmanager
    def app_session(self) -> Iterator[Session]:
        with self._make() as session:
            yield session

    def let_go(self) -> None:
        """Nothing is held between hooks."""


def connect(engine: Engine) -> Connection:
    """A connection from the pool.

    :raises DBAPIError: There is none, or it has died; then the pool has been emptied.
    """
    try:
        return engine.connect()
    except engine.dialect.loaded_dbapi.Error as error:
        # PyMySQL talks to the server as soon as it is asked for autocommit; SQLAlchemy lets that error pass as it is.
        engine.dispose()
        raise OperationalError("autocommit", None, error, connection_invalidated=True) from error


def begin(session: Session, model: type[Any], engine: Engine) -> None:
    """Let the transaction in which a hook works end well, whatever is done to the upload's record meanwhile.

    From 11.6 on, MariaDB lets a transaction fail that changes a record of which it has seen an older state. But the
    claim on the upload is renewed while the hook works.
    """
    if not session.in_transaction() and _guards_snapshots(engine):
        arguments = {"mapper": model}
        session.connection(bind_arguments=arguments, execution_options={"isolation_level": "READ COMMITTED"})


def _guards_snapshots(engine: Engine) -> bool:
    if engine.dialect.name not in ("mysql", "mariadb"):
        return False
    if engine not in _guarding:
        with connect(engine) as connection:
            is_default = (
                getattr(engine.dialect, "_on_connect_isolation_level", None) is None
            )  # else it is the app's wish
            row = connection.exec_driver_sql("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'").first()
            _guarding[engine] = is_default and row is not None and row[1] == "ON"
    return _guarding[engine]


def is_trouble(error: BaseException) -> bool:
    """Whether the database is to blame, and not who asked it."""
    return isinstance(error, OperationalError) or (isinstance(error, DBAPIError) and error.connection_invalidated)


@contextmanager
def joining(session: Session, save: Callable[[], None]) -> Iterator[None]:
    """Put ``save`` into the transaction that commits first: the hook's own, or the one after it.

    So the hook may commit by itself, and its rows and the upload's next state are still one transaction. The row is
    locked only from there to the commit, not while the hook runs.
    """
    is_saved = False

    def before_commit(committing: Session) -> None:
        if not is_saved and not committing.in_nested_transaction():
            with translated():
                save()

    def after_commit(committed: Session) -> None:
        nonlocal is_saved
        is_saved = is_saved or not committed.in_nested_transaction()

    event.listen(session, "before_commit", before_commit)
    event.listen(session, "after_commit", after_commit)
    try:
        yield
    finally:
        event.remove(session, "before_commit", before_commit)
        event.remove(session, "after_commit", after_commit)


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeout, OSError) as error:
        raise Unavailable(TROUBLE) from error
