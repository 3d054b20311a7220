"""Creates a repository in the app's own SQL database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import scoped_session

from ...errors import ConfigurationError
from ...models.sqlalchemy import SQLAlchemyModel
from ...settings.app import Settings
from .database import Pooled
from .deletion_warnings import warn
from .durability import make_durable
from .engines import LazyEngine
from .repository import SQLAlchemyRepository
from .sessions import ContextSessions
from .sessions import OwnSessions
from .sessions import ScopedSessions
from .sessions import Sessions
from .tables import create_table
from .turns import share


def app_repository(app: Flask, model: type[Any], db: Any, settings: Settings) -> SQLAlchemyRepository:
    """Return the repository for a mapped ``model``.

    :param db: A Flask-SQLAlchemy or Flask-SQLAlchemy-Lite object, a ``scoped_session`` or a ``sessionmaker``. The
        default is the app's own ``db``.
    :raises ConfigurationError: There is no database for the model.
    """
    db = db if db is not None else app.extensions.get("sqlalchemy")
    makes_table = settings.create_tables
    if makes_table is None:
        makes_table = issubclass(model, SQLAlchemyModel)

    find, sessions, name = _access(app, model, db)

    is_durable = settings.durability != "none"
    seen: list[Engine] = []

    def adjust(engine: Engine) -> Callable[[], None] | None:
        if is_durable and engine not in seen:
            seen.append(engine)
            make_durable(engine, name)
        return share(engine, name)

    def prepare(engine: Engine) -> Callable[[], None] | None:
        check = adjust(engine)
        if makes_table:
            create_table(engine, model)
        warn(engine, model)
        return check

    engine = None
    with suppress(Exception):  # it may not be available until it is first used
        engine = find()
    if engine is not None:
        adjust(engine)
    repository = SQLAlchemyRepository(model, Pooled(LazyEngine(find, prepare)), sessions)
    repository.setting = name
    return repository


def _access(app: Flask, model: type[Any], db: Any) -> tuple[Callable[[], Engine], Sessions, str]:
    """Return how to find the engine, the sessions for hooks, and the name of the database in error messages."""
    if _is_of(db, "flask_sqlalchemy"):
        if "sqlalchemy" not in app.extensions:
            raise ConfigurationError("db= is not set up for this app: call db.init_app(app) before FlaskResumable.")
        key = _bind_key(model)
        name = "SQLALCHEMY_DATABASE_URI" if key is None else f"SQLALCHEMY_BINDS[{key!r}]"
        return partial(_flask_sqlalchemy_engine, app, model, db), ScopedSessions(db.session), name
    if _is_of(db, "flask_sqlalchemy_lite"):
        if app.extensions.get("sqlalchemy") is not db:
            raise ConfigurationError("db= is not set up for this app: call db.init_app(app) before FlaskResumable.")
        find = partial(_lite_engine, app, model, db)
        _demand_engine(find, model)
        return find, ContextSessions(db), "SQLALCHEMY_ENGINES"
    if isinstance(db, scoped_session):
        return lambda: _bound_engine(db.session_factory(), model), ScopedSessions(db), "The database of db="
    if callable(db):
        return lambda: _bound_engine(db(), model), OwnSessions(db), "The database of db="
    raise ConfigurationError(
        f"model={model.__name__} needs a database: pass a Flask-SQLAlchemy or Flask-SQLAlchemy-Lite object, a "
        "scoped_session or a sessionmaker as db=."
    )


def _is_of(db: Any, package: str) -> bool:
    """Whether ``db`` is an instance of a class of this package, or of a subclass. The package may not be installed."""
    return any(kind.__module__.partition(".")[0] == package for kind in type(db).__mro__)


def _flask_sqlalchemy_engine(app: Flask, model: type[Any], db: Any) -> Engine:
    with app.app_context():
        engine: Engine = db.engines[_bind_key(model)]
        return engine


def _lite_engine(app: Flask, model: type[Any], db: Any) -> Engine:
    with app.app_context():
        return _bound_engine(db.sessionmaker(), model)


def _demand_engine(find: Callable[[], Engine], model: type[Any]) -> None:
    try:
        find()
    except UnboundExecutionError:
        raise ConfigurationError(
            f'SQLALCHEMY_ENGINES has no engine for {model.__name__}: name one of them "default", or pass '
            f'session_options={{"binds": {{{model.__name__}: ...}}}} to SQLAlchemy().'
        ) from None


def _bind_key(model: type[Any]) -> Any:
    return model.__table__.metadata.info.get("bind_key")


def _bound_engine(session: Any, model: type[Any]) -> Engine:
    with session:
        engine: Engine = session.get_bind(model.__mapper__)
        return engine
