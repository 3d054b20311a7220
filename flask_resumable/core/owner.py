"""Converts owners to text, so that the owner of an upload can be compared with that of a later request."""

from __future__ import annotations

from collections.abc import Awaitable
from collections.abc import Coroutine
from enum import Enum
from types import NoneType
from uuid import UUID


class Anybody(Enum):
    """The type of ``ANYBODY``."""

    ANYBODY = "anybody"


ANYBODY = Anybody.ANYBODY  # any owner, or none; None means uploads without an owner

MAX_OWNER = 255  # in characters; the length of the column

_WANTED = "a str, an int, a UUID or None"


def owner_of(value: object) -> str | None:
    """Convert a user id of any supported type to the text that is stored and compared.

    Equal values always give the same text. A value that a database could not store unchanged is refused before anything
    is created.

    :raises TypeError: The value has a type that cannot identify a user.
    :raises ValueError: No database can store the value unchanged.
    """
    if isinstance(value, Enum) and isinstance(value, str | int):
        value = value.value
    if isinstance(value, NoneType):  # not "is None", because it may be a proxy
        return None
    text = _text(value)
    if len(text) > MAX_OWNER:
        raise ValueError(f"{_told(value)}: it has {len(text)} characters, but at most {MAX_OWNER} can be stored.")
    if "\0" in text:
        raise ValueError(f"{_told(value)}: it contains a NUL character, which databases cannot store.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{_told(value)}: it contains a lone surrogate, so it is not valid Unicode.") from None
    return text


def _text(value: object) -> str:
    if isinstance(value, str):
        # A subclass may have its own __str__, made for display. A proxy is not a subclass.
        return str.__str__(value) if issubclass(type(value), str) else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, UUID) or _is_object_id(value):
        return str(value)
    if isinstance(value, Coroutine):
        value.close()
    if isinstance(value, Awaitable):
        raise TypeError(f"{_told(value)}: it must be awaited; write 'async def current_owner'.")
    hint = "decode it" if isinstance(value, bytes | bytearray | memoryview) else "return what identifies the user"
    raise TypeError(f"{_told(value)}: it must be {_WANTED}; {hint}.")


def _is_object_id(value: object) -> bool:
    """Whether this is a MongoDB id. Its class is not imported here, since the package may not be installed."""
    kind = type(value)
    return kind.__module__ == "bson.objectid" and kind.__name__ == "ObjectId"


def _told(value: object) -> str:
    """Return the start of an error message. It does not show the value, which may be a secret."""
    return f"current_owner() returned a value of type {type(value).__name__}"
