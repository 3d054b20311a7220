"""Making the table of uploads, for apps that leave that to the extension."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError


def create_table(engine: Engine, model: type[Any]) -> None:
    """Create the model's table if it is missing. Several processes may do so at once."""
    table = model.__table__
    try:
        table.create(engine, checkfirst=True)
    except DBAPIError:
        if not inspect(engine).has_table(table.name, schema=table.schema):
            raise
