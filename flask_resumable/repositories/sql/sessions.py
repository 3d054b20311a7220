"""The app's own SQLAlchemy session: where its hooks work, and how they share a transaction with the extension."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from typing import Protocol
from weakref import WeakKeyDictionary

from sqlalchemy import Engine
from sqlalchemy import event
from sqlalchemy.orm import Session

from .engines import connect
from .engines import translated

_guarding: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()  # known of a server once it was asked


class Sessions(Protocol):
    """The session in which hooks of the app work."""

    def app_session(self) -> Any:
        """A context manager: the app's own session."""
        ...

    def release_connection(self) -> None:
        """Give the connection of the app's session back, with what it has written so far committed."""
        ...


class ScopedSessions:
    """A Flask-SQLAlchemy object's ``db.session``, or any :class:`~sqlalchemy.orm.scoped_session`."""

    def __init__(self, scoped: Any) -> None:
        self._scoped = scoped

    @contextmanager
    def app_session(self) -> Iterator[Session]:
        yield self._scoped()

    def release_connection(self) -> None:
        if self._scoped.registry.has():
            _commit(self._scoped())


class ContextSessions:
    """A Flask-SQLAlchemy-Lite object's ``db.session``: one for each app context, which closes it."""

    def __init__(self, db: Any) -> None:
        self._db = db

    @contextmanager
    def app_session(self) -> Iterator[Session]:
        yield self._db.session

    def release_connection(self) -> None:
        _commit(self._db.session)  # if there was none, it has no transaction either


class OwnSessions:
    """Sessions of a plain ``sessionmaker``, which live for one hook."""

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make

    @contextmanager
    def app_session(self) -> Iterator[Session]:
        with self._make() as session:
            yield session

    def release_connection(self) -> None:
        """Nothing is held between hooks."""


def _commit(session: Session) -> None:
    """End the session's transaction, if it has one, and give its connection back."""
    if session.in_transaction():
        try:
            with translated():
                session.commit()
        except BaseException:
            session.rollback()
            raise


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


@contextmanager
def save_with_next_commit(session: Session, save: Callable[[], None]) -> Iterator[None]:
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
