"""What a database says when it does not let a record go, told from a database that is in trouble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import InterfaceError
from sqlalchemy.exc import OperationalError

from ...errors import RemovalRefused
from ...errors import Unavailable
from .database import Repeated

_SIGNAL = 1644  # MySQL's and MariaDB's number for an error that a trigger raises


@contextmanager
def telling_refusals() -> Iterator[None]:
    """For a removal and its rehearsal: if the database forbids it, trying again later does not help.

    :raises RemovalRefused: It does.
    """
    try:
        yield
    except (IntegrityError, Repeated) as error:
        raise RemovalRefused(_reason(error)) from error
    except Unavailable as error:
        if _is_refusal(error.__cause__):
            raise RemovalRefused(_reason(error.__cause__)) from error.__cause__
        raise


def _is_refusal(error: BaseException | None) -> bool:
    """Whether the statement is to blame, as when a trigger has raised an error, and not the database's state."""
    if not isinstance(error, DBAPIError) or error.connection_invalidated or isinstance(error, InterfaceError):
        return False
    if type(error.orig).__module__.startswith("sqlite3"):
        return False  # its triggers raise IntegrityError
    return not isinstance(error, OperationalError) or getattr(error.orig, "args", (None,))[:1] == (_SIGNAL,)


def _reason(error: BaseException | None) -> str:
    """What the database says, in one line."""
    while isinstance(error, Repeated):
        error = error.__cause__
    said = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(said).split())
