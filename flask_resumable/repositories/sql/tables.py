"""Creates the table of uploads, for apps that leave that to the extension."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column
from sqlalchemy import Engine
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn


def create_table(engine: Engine, model: type[Any]) -> None:
    """Create the model's table if it does not exist. Several processes may do so at the same time."""
    table = model.__table__
    try:
        table.create(engine, checkfirst=True)
    except DBAPIError:
        if not inspect(engine).has_table(table.name, schema=table.schema):
            raise


def add_columns(engine: Engine, model: type[Any]) -> None:
    """Add the columns that an earlier version of this package did not have. Several processes may do so together."""
    table = model.__table__
    for column in _missing(engine, table):
        name = engine.dialect.identifier_preparer.format_table(table)
        declared = CreateColumn(column).compile(dialect=engine.dialect)
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {declared}")
        except DBAPIError:
            if column in _missing(engine, table):
                raise


def _missing(engine: Engine, table: Any) -> list[Column[Any]]:
    known = {column["name"] for column in inspect(engine).get_columns(table.name, schema=table.schema)}
    return [column for column in table.columns if column.name not in known]
