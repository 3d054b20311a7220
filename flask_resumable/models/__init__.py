"""Models of an upload for the app's own database. Each is imported, along with its ORM, on first access."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .interface import UploadInterface as UploadInterface
    from .mongoengine import MongoengineBaseModel as MongoengineBaseModel
    from .mongoengine import MongoengineModel as MongoengineModel
    from .sqlalchemy import SQLAlchemyMixin as SQLAlchemyMixin
    from .sqlalchemy import SQLAlchemyModel as SQLAlchemyModel

__all__ = ["MongoengineBaseModel", "MongoengineModel", "SQLAlchemyMixin", "SQLAlchemyModel", "UploadInterface"]

_MODULES = {
    "MongoengineBaseModel": "mongoengine",
    "MongoengineModel": "mongoengine",
    "SQLAlchemyMixin": "sqlalchemy",
    "SQLAlchemyModel": "sqlalchemy",
    "UploadInterface": "interface",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if _MODULES[name] != "mongoengine":
            raise
        raise ConfigurationError(
            f"{name} needs {error.name}, which is not installed: run pip install 'Flask-Resumable[mongoengine]'."
        ) from error
