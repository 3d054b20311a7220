"""Tells a database that refuses to delete a record from one that does not work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import InterfaceError
from sqlalchemy.exc import OperationalError

from ...errors import RemovalRefused
from ...errors import Unavailable
from .database import RetryConflict

_SIGNAL = 1644  # the error number for errors that a trigger raises in MySQL and MariaDB


@contextmanager
def telling_refusals() -> Iterator[None]:
    """Wrap a removal or its rehearsal. If the database refuses it, trying again later does not help.

    :raises RemovalRefused: The database refuses it.
    """
    try:
        yield
    except (IntegrityError, RetryConflict) as error:
        raise RemovalRefused(_reason(error)) from error
    except Unavailable as error:
        if _is_refusal(error.__cause__):
            raise RemovalRefused(_reason(error.__cause__)) from error.__cause__
        raise


def _is_refusal(error: BaseException | None) -> bool:
    """Whether the statement is to blame and not the state of the database, for example if a trigger raised an error."""
    if not isinstance(error, DBAPIError) or error.connection_invalidated or isinstance(error, InterfaceError):
        return False
    if type(error.orig).__module__.startswith("sqlite3"):
        return False  # its triggers raise IntegrityError
    return not isinstance(error, OperationalError) or getattr(error.orig, "args", (None,))[:1] == (_SIGNAL,)


def _reason(error: BaseException | None) -> str:
    """Return the database's message in one line."""
    while isinstance(error, RetryConflict):
        error = error.__cause__
    said = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(said).split())
