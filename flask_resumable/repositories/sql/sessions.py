"""The app's own SQLAlchemy session, in which its hooks run and share a transaction with the extension."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from typing import Protocol
from weakref import WeakKeyDictionary
from weakref import WeakSet

from sqlalchemy import Engine
from sqlalchemy import event
from sqlalchemy.orm import Session

from .engines import connect
from .engines import db_errors

_guarding: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()  # what each server has answered


class Sessions(Protocol):
    """The sessions that the app's hooks use."""

    def app_session(self) -> Any:
        """Return a context manager for the app's own session."""
        ...

    def release_connection(self) -> None:
        """Commit what the app's session has written so far, and return its connection to the pool."""
        ...


class ScopedSessions:
    """The ``db.session`` of Flask-SQLAlchemy, or any other :class:`~sqlalchemy.orm.scoped_session`."""

    def __init__(self, scoped: Any) -> None:
        self._scoped = scoped

    @contextmanager
    def app_session(self) -> Iterator[Session]:
        yield self._scoped()

    def release_connection(self) -> None:
        if self._scoped.registry.has():
            _commit(self._scoped())


class ContextSessions:
    """The ``db.session`` of Flask-SQLAlchemy-Lite, one for each app context, which closes it."""

    def __init__(self, db: Any) -> None:
        self._db = db

    @contextmanager
    def app_session(self) -> Iterator[Session]:
        yield self._db.session

    def release_connection(self) -> None:
        _commit(self._db.session)  # a session that is only now created has no transaction


class OwnSessions:
    """Sessions of a plain ``sessionmaker``, each for a single hook."""

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make

    @contextmanager
    def app_session(self) -> Iterator[Session]:
        with self._make() as session:
            yield session

    def release_connection(self) -> None:
        """Do nothing, because no session is kept between hooks."""


def _commit(session: Session) -> None:
    """Commit the session's transaction, if there is one, and return its connection to the pool."""
    if session.in_transaction():
        try:
            with db_errors():
                session.commit()
        except BaseException:
            session.rollback()
            raise


def begin(session: Session, model: type[Any], engine: Engine) -> None:
    """Start the transaction of a hook such that it can commit, whatever happens to the upload's record meanwhile.

    Since 11.6, MariaDB fails transactions that change a record after they have seen an older version of it. The claim
    on the upload is renewed while the hook runs, so that would happen here.
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
            )  # otherwise the app has chosen a level
            row = connection.exec_driver_sql("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'").first()
            _guarding[engine] = is_default and row is not None and row[1] == "ON"
    return _guarding[engine]


class _PendingSave:
    """A save that belongs to the transaction of a session that is committed first."""

    def __init__(self, save: Callable[[], None]) -> None:
        self._save = save
        self._transaction: object = None  # the one that the save was added to
        self._is_committed = False

    def before_commit(self, session: Session) -> None:
        transaction = session.get_transaction()
        if not self._is_committed and transaction is not self._transaction:
            self._transaction = transaction
            # First what the app has added, which takes longer to prepare than to write. SQLite is locked for everybody
            # else from the first change to the commit.
            session.flush()
            with db_errors():
                self._save()

    def after_commit(self) -> None:
        self._is_committed = True


_PENDING = "resumable_save"  # in Session.info

_listening: WeakSet[type[Session]] = WeakSet()


@contextmanager
def save_with_next_commit(session: Session, save: Callable[[], None]) -> Iterator[None]:
    """Add ``save`` to the transaction that is committed first: one of the hook's own, or the one after it.

    The hook may therefore commit, and its rows and the upload's next status are still saved in one transaction. The row
    is locked only from there to the commit, not while the hook runs.
    """
    _listen(type(session))
    outer = session.info.get(_PENDING)
    session.info[_PENDING] = _PendingSave(save)
    try:
        yield
    finally:
        session.info[_PENDING] = outer


def _listen(kind: type[Session]) -> None:
    """Listen to the commits of all sessions of a class, because to start and stop for each of them takes longer."""
    if kind not in _listening:
        _listening.add(kind)
        event.listen(kind, "before_commit", _before_commit)
        event.listen(kind, "after_commit", _after_commit)


def _before_commit(session: Session) -> None:
    pending = session.info.get(_PENDING)
    if pending is not None and not session.in_nested_transaction():
        pending.before_commit(session)


def _after_commit(session: Session) -> None:
    pending = session.info.get(_PENDING)
    if pending is not None and not session.in_nested_transaction():
        pending.after_commit()
