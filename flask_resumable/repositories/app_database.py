"""A repository in the app's own SQL database."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy.orm import scoped_session

from ..errors import ConfigurationError
from ..models.sqlalchemy import SQLAlchemyModel
from ..settings import Settings
from .database import Pooled
from .engines import LazyEngine
from .sessions import OwnSessions
from .sessions import ScopedSessions
from .sqlalchemy import SQLAlchemyRepository
from .tables import create_table


def app_repository(app: Flask, model: type[Any], db: Any, settings: Settings) -> SQLAlchemyRepository:
    """The repository for a mapped ``model``.

    :param db: A Flask-SQLAlchemy object (``None``: the app's), a ``scoped_session`` or a ``sessionmaker``.
    :raises ConfigurationError: There is no database for the model.
    """
    db = db if db is not None else app.extensions.get("sqlalchemy")
    makes_table = settings.create_tables
    if makes_table is None:
        makes_table = issubclass(model, SQLAlchemyModel)

    def prepare(engine: Engine) -> None:
        if makes_table:
            create_table(engine, model)

    if isinstance(db, SQLAlchemy):
        if "sqlalchemy" not in app.extensions:
            raise ConfigurationError("db= is not set up for this app: call db.init_app(app) before FlaskResumable's.")
        engine = LazyEngine(lambda: _flask_sqlalchemy_engine(app, model, db), prepare)
        return SQLAlchemyRepository(model, Pooled(engine), ScopedSessions(db.session))
    if isinstance(db, scoped_session):
        engine = LazyEngine(lambda: _bound_engine(db.session_factory(), model), prepare)
        return SQLAlchemyRepository(model, Pooled(engine), ScopedSessions(db))
    if callable(db):
        engine = LazyEngine(lambda: _bound_engine(db(), model), prepare)
        return SQLAlchemyRepository(model, Pooled(engine), OwnSessions(db))
    raise ConfigurationError(
        f"model={model.__name__} needs a database: pass db=, a Flask-SQLAlchemy object or sessions."
    )


def _flask_sqlalchemy_engine(app: Flask, model: type[Any], db: Any) -> Engine:
    with app.app_context():
        engine: Engine = db.engines[model.__table__.metadata.info.get("bind_key")]
        return engine


def _bound_engine(session: Any, model: type[Any]) -> Engine:
    with session:
        engine: Engine = session.get_bind(model.__mapper__)
        return engine
