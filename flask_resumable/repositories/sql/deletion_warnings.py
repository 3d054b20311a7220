"""Warns about deletions that an app's tables or models promise but that will not happen."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import RelationshipDirection
from sqlalchemy.orm import RelationshipProperty

logger = logging.getLogger(__package__)

_REFERRING = (
    "SELECT DISTINCT tables.name FROM sqlite_master AS tables, pragma_foreign_key_list(tables.name) AS keys "
    "WHERE tables.type = 'table' AND lower(keys.\"table\") = lower(?)"
)


def warn(engine: Engine, model: type[Any]) -> None:
    """Check once, when the database is first used and all models are mapped."""
    # Errors of the database are reported by the code that needs it.
    with suppress(SQLAlchemyError):
        _warn_of_cascades(model)
    with suppress(SQLAlchemyError):
        if engine.dialect.name == "sqlite":
            _warn_of_foreign_keys(engine, model)


def _warn_of_foreign_keys(engine: Engine, model: type[Any]) -> None:
    with engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA foreign_keys").scalar():
            return
        found = connection.exec_driver_sql(_REFERRING, (model.__table__.name,)).scalars()
        names = sorted({*_referring(model.__table__), *found})
    if names:
        logger.warning(
            "SQLite does not check the foreign keys of %s to %s on this app's connections: ondelete has no effect, and "
            "rows will refer to uploads that are gone. Execute PRAGMA foreign_keys=ON in a connect event.",
            ", ".join(names),
            model.__table__.name,
        )


def _referring(table: Any) -> Iterable[str]:
    """Yield the names of mapped tables with foreign keys to ``table``, whether they have been created or not."""
    for other in table.metadata.tables.values():
        if any(key.target_fullname.rpartition(".")[0] == table.fullname for key in other.foreign_keys):
            yield other.name


def _warn_of_cascades(model: type[Any]) -> None:
    for relationship in model.__mapper__.relationships:
        if relationship.cascade.delete and not _is_done_by_database(relationship, model.__table__):
            logger.warning(
                "%s cascades deletions, but uploads are deleted by a DELETE statement, which the ORM's cascades do not "
                "apply to. Set ondelete= on the foreign key, or remove these rows in pre_delete or post_delete.",
                relationship,
            )


def _is_done_by_database(relationship: RelationshipProperty[Any], table: Any) -> bool:
    """Whether every foreign key to the upload has a rule for its rows in the database."""
    if relationship.direction is not RelationshipDirection.ONETOMANY:
        return False
    keys = [key for _, remote in relationship.local_remote_pairs or () for key in remote.foreign_keys]
    keys = [key for key in keys if key.references(table)]
    return bool(keys) and all(key.ondelete for key in keys)
