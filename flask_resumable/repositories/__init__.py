"""State repositories, and which one serves which model."""

from __future__ import annotations

import sys
from typing import Any
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from flask import Flask

    from ..interfaces import StateRepository
    from ..settings.app import Settings

_ready_made: WeakKeyDictionary[Any, type[Any]] = WeakKeyDictionary()


def model_for(model: type[Any] | None, db: Any) -> type[Any] | None:
    """Return the mapped class for what the app passed as ``model``, or ``None`` for the embedded database.

    :raises ConfigurationError: ``model`` cannot be used with ``db``.
    """
    if model is None and db is None:
        return None
    if _is_document(model):
        return _checked_document(model)  # documents have their own connection, so db= is not needed
    from ..models.sqlalchemy import SQLAlchemyMixin
    from ..models.sqlalchemy import SQLAlchemyModel

    if model is None or model is SQLAlchemyModel:
        return _ready_made_for(db, SQLAlchemyModel)
    if not (isinstance(model, type) and issubclass(model, SQLAlchemyMixin) and hasattr(model, "__mapper__")):
        raise ConfigurationError(
            f"model={model!r} is not an upload model: pass SQLAlchemyModel, "
            "a mapped class such as 'class Upload(SQLAlchemyMixin, db.Model)', MongoengineModel, "
            "or a document such as 'class Upload(MongoengineBaseModel)'."
        )
    return model


def _is_document(model: Any) -> bool:
    """Whether this is a MongoEngine document of uploads. The module is imported if, and only if, there is one."""
    module = sys.modules.get(f"{__package__.rpartition('.')[0]}.models.mongoengine")
    return module is not None and isinstance(model, type) and issubclass(model, module.MongoengineBaseModel)


def _checked_document(model: Any) -> type[Any]:
    if getattr(model, "_meta", {}).get("abstract"):
        raise ConfigurationError(f"model={model.__name__} is abstract: subclass it, or pass MongoengineModel.")
    document: type[Any] = model
    return document


def _ready_made_for(db: Any, base: type[Any]) -> type[Any]:
    if db is None:
        raise ConfigurationError("model=SQLAlchemyModel needs the app's database: pass db=.")
    if not hasattr(db, "Model"):
        raise ConfigurationError(
            "model=SQLAlchemyModel needs a Flask-SQLAlchemy object as db=. With Flask-SQLAlchemy-Lite or plain "
            "sessions, pass a mapped model of your own, such as 'class Upload(SQLAlchemyMixin, Base)'."
        )
    if db not in _ready_made:
        _ready_made[db] = type("ResumableUpload", (base, db.Model), {"__tablename__": "resumable_uploads"})
    return _ready_made[db]


def repository_for(app: Flask, model: type[Any] | None, db: Any, settings: Settings) -> StateRepository:
    """Return the repository for the app's model, or for the embedded database."""
    if model is None:
        from .sql.embedded import embedded_repository
        from .sql.embedded import EmbeddedUpload
        from .sql.migrations import show_table

        show_table(app, EmbeddedUpload, settings.database_uri)
        return embedded_repository(settings.database_uri, durable=settings.durability != "none")
    if _is_document(model):
        from .mongo.factory import mongo_repository

        return mongo_repository(app, model, settings)
    from .sql.factory import app_repository

    return app_repository(app, model, db, settings)
