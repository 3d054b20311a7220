"""Statements that are compiled once, because SQLAlchemy takes several times as long to execute one as the database."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy import Dialect
from sqlalchemy import literal
from sqlalchemy import select
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.interfaces import BindTyping
from sqlalchemy.exc import DBAPIError

from .statements import Parameters

Convert = Callable[[Any], Any]
Row = Mapping[Any, Any]

# SQLAlchemy itself listens to others.
_EVENTS = ("begin", "commit", "before_cursor_execute", "after_cursor_execute")
_DIALECTS = ("sqlite", "postgresql", "mysql", "mariadb")


class Prepared:
    """The text of a statement, with converters for its values and columns according to their types.

    :param dialect: A dialect that :func:`can_prepare`.
    """

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        #: Whether SQLAlchemy must execute the statement, because it also computes defaults of the app's columns.
        self.has_defaults = bool(getattr(compiled, "insert_prefetch", ()) or getattr(compiled, "update_prefetch", ()))
        columns = [*statement.exported_columns]  # none if it returns no rows
        self.returns_rows = bool(columns)
        self._is_positional = bool(compiled.positional)
        kinds = {name: parameter.type for parameter, name in compiled.bind_names.items()}
        defaults = compiled.params
        self._values = [
            (name, defaults[name], _to_database(kinds[name], dialect))
            for name in (compiled.positiontup if compiled.positional else kinds)
        ]
        self._columns = [(column.key, _from_database(column.type, dialect)) for column in columns]

    def values(self, parameters: Parameters) -> Any:
        """Return the values as the driver takes them: in the order of the statement, or by name."""
        get = parameters.get
        if self._is_positional:
            return tuple(
                [
                    get(name, default) if convert is None else convert(get(name, default))
                    for name, default, convert in self._values
                ]
            )
        return {
            name: get(name, default) if convert is None else convert(get(name, default))
            for name, default, convert in self._values
        }

    def row(self, found: Sequence[Any]) -> Row:
        """Return a row by the names of its columns. What is NULL is not converted."""
        return {
            name: value if convert is None or value is None else convert(value)
            for (name, convert), value in zip(self._columns, found, strict=True)
        }


def execute(connection: Connection, prepared: Prepared, parameters: Parameters) -> tuple[int, Sequence[Sequence[Any]]]:
    """Execute a statement. Return the number of records that matched and the rows that it returned.

    Listeners to SQLAlchemy's events and its log see the statement as any other. If there are none, the driver executes
    it without SQLAlchemy's objects in between, which would take longer than the database.
    """
    values = prepared.values(parameters)
    if _is_watched(connection):
        result = connection.exec_driver_sql(prepared.text, values)
        return result.rowcount, result.all() if prepared.returns_rows else ()
    cursor = None
    try:
        cursor = connection.connection.cursor()
        cursor.execute(prepared.text, values)
        return cursor.rowcount, cursor.fetchall() if prepared.returns_rows else ()
    except connection.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemys(error, connection, cursor, prepared.text) from error
    finally:
        if cursor is not None:
            cursor.close()


def needs_sqlalchemy(connection: Connection) -> bool:
    """Whether a connection changes statements or tells listeners of them, before they are text."""
    told = connection.dispatch.before_execute or connection.dispatch.after_execute
    return bool(told) or "schema_translate_map" in connection.get_execution_options()


def commit(connection: Connection) -> None:
    """Commit what was executed, even if SQLAlchemy does not know of a transaction.

    :raises DBAPIError: The database refuses it, as with a constraint that is checked on commit.
    """
    driver = connection.connection
    try:
        if connection.in_transaction():
            connection.commit()
        else:
            driver.commit()
    except BaseException as error:
        driver.rollback()  # SQLAlchemy leaves that to its caller, and would return the connection as it is
        if isinstance(error, connection.dialect.loaded_dbapi.Error):
            raise _as_sqlalchemys(error, connection, None, "COMMIT") from error
        raise


def _is_watched(connection: Connection) -> bool:
    """Whether anything logs or listens to statements. If a later SQLAlchemy keeps that elsewhere, it is assumed."""
    if getattr(connection, "_echo", True) or connection.dialect.dispatch.handle_error:
        return True
    if getattr(connection, "_has_events", True) or getattr(connection.engine, "_has_events", True):
        return any(getattr(connection.dispatch, name) for name in _EVENTS)
    return bool(getattr(connection.dialect, "_has_events", True) and connection.dialect.dispatch.do_execute)


def _as_sqlalchemys(error: Any, connection: Connection, cursor: Any, text: str) -> DBAPIError:
    """Return an error of the driver as SQLAlchemy raises it. A connection that has died is removed from the pool."""
    dialect = connection.dialect
    is_lost = dialect.is_disconnect(error, connection.connection, cursor)
    wrapped = DBAPIError.instance(
        text, None, error, dialect.loaded_dbapi.Error, connection_invalidated=is_lost, dialect=dialect
    )
    if is_lost:
        engine = connection.engine
        # The others of its pool have died, too. If somebody has noticed that before, a new pool may be in use already.
        is_first = getattr(connection.connection, "_pool", engine.pool) is engine.pool
        connection.invalidate(error)
        if is_first:
            engine.dispose()
    assert isinstance(wrapped, DBAPIError)
    return wrapped


def can_prepare(dialect: Dialect) -> bool:
    """Whether statements can be prepared for a database and its driver.

    How a compiled statement takes its values is not documented by SQLAlchemy, so this is checked.
    """
    if dialect.name not in _DIALECTS or dialect.bind_typing is BindTyping.SETINPUTSIZES:
        return False
    compiled = select(literal(1)).compile(dialect=dialect)
    return hasattr(compiled, "bind_names") and (not compiled.positional or isinstance(compiled.positiontup, list))


def can_return(dialect: Dialect) -> bool:
    """Whether an UPDATE can return the record that it has changed. MySQL and MariaDB cannot."""
    if dialect.name == "sqlite":
        version: tuple[int, ...] = dialect.loaded_dbapi.sqlite_version_info
        return version >= (3, 35)
    return dialect.name == "postgresql"


def can_prepare_for_sqlite() -> bool:
    """Whether statements can be prepared for SQLite's own driver."""
    return can_prepare(SQLiteDialect_pysqlite())


def _to_database(kind: Any, dialect: Dialect) -> Convert | None:
    convert: Convert | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return convert


def _from_database(kind: Any, dialect: Dialect) -> Convert | None:
    convert: Convert | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    return convert
