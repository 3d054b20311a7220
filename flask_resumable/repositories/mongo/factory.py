"""A repository in the app's own MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from flask import Flask
from mongoengine import connection
from mongoengine import DEFAULT_CONNECTION_NAME

from ...errors import ConfigurationError
from ...settings.app import Settings
from .repository import MongoengineRepository

PREFIX = "MONGODB_"
# MongoEngine does not document these, and may change them. All that is used of others is in tests/test_private_apis.py.
PRIVATE = ("_meta", "_fields", "_data", "_from_son", "_get_db", "_get_collection_name")


def mongo_repository(app: Flask, model: type[Any], settings: Settings) -> MongoengineRepository:
    """The repository for a document.

    If nobody has connected the document's alias by now, and the app has settings for it as flask-mongoengine takes
    them, they are registered. No connection is made before it is needed: after a server's workers have forked.

    :raises ConfigurationError: The settings are none that a connection can be made with, or this version of MongoEngine
        cannot be used.
    """
    _check_version(model)
    alias = model._meta.get("db_alias", DEFAULT_CONNECTION_NAME)
    if alias not in connection._connection_settings:
        for options in _connections(app.config):
            if options.pop("alias", DEFAULT_CONNECTION_NAME) == alias:
                _register(alias, options)
    return MongoengineRepository(model, makes_indexes=settings.create_tables)


def _check_version(model: type[Any]) -> None:
    missing = [name for name in PRIVATE if not hasattr(model, name)]
    if not hasattr(connection, "_connection_settings"):
        missing.append("_connection_settings")
    if missing:
        raise ConfigurationError(
            f"mongoengine {version('mongoengine')} cannot be used, it lacks {', '.join(missing)}: "
            "pip install 'mongoengine<0.30'."
        )


def _register(alias: str, options: dict[str, Any]) -> None:
    try:
        connection.register_connection(alias, **options)
    except Exception as error:
        raise ConfigurationError(f"MONGODB_SETTINGS for {alias!r} cannot be used: {error}") from error


def _connections(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The app's connections: ``MONGODB_SETTINGS``, one or a list of them, or else ``MONGODB_HOST`` and so on."""
    listed = config.get("MONGODB_SETTINGS")
    if listed is None:
        listed = {key: value for key, value in config.items() if key.startswith(PREFIX)}
    for options in [listed] if isinstance(listed, Mapping) else listed:
        if options:
            yield {key.upper().removeprefix(PREFIX).lower(): value for key, value in options.items()}
