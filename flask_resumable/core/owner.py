"""Who an upload belongs to, as text: what the app says on creation and what it says later must be equal."""

from __future__ import annotations

from collections.abc import Awaitable
from collections.abc import Coroutine
from enum import Enum
from types import NoneType
from uuid import UUID


class Anybody(Enum):
    """The type of ``ANYBODY``."""

    ANYBODY = "anybody"


ANYBODY = Anybody.ANYBODY  # whoever it is; None is nobody in particular

MAX_OWNER = 255  # characters, as long as the column

_WANTED = "a str, an int, a UUID or None"


def owner_of(value: object) -> str | None:
    """The owner as it is kept and compared, whatever type the app's user ids have.

    Every value that is accepted always makes the same text. What could not be kept, or would come back different, is
    refused before anything is created.

    :raises TypeError: It is none of the types whose text says who it is.
    :raises ValueError: No database keeps it unchanged.
    """
    if isinstance(value, Enum) and isinstance(value, str | int):
        value = value.value
    if isinstance(value, NoneType):  # not "is None": it may be a proxy
        return None
    text = _text(value)
    if len(text) > MAX_OWNER:
        raise ValueError(f"{_told(value)}: it has {len(text)} characters, and {MAX_OWNER} at most can be kept.")
    if "\0" in text:
        raise ValueError(f"{_told(value)}: it has a NUL character, which databases do not keep.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{_told(value)}: it has a lone surrogate, so it is not valid Unicode.") from None
    return text


def _text(value: object) -> str:
    if isinstance(value, str):
        # A subclass may have a __str__ of its own, which is made for people. A proxy is no subclass.
        return str.__str__(value) if issubclass(type(value), str) else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, UUID) or _is_object_id(value):
        return str(value)
    if isinstance(value, Coroutine):
        value.close()
    if isinstance(value, Awaitable):
        raise TypeError(f"{_told(value)}: it is still to be awaited; write 'async def current_owner'.")
    hint = "decode it" if isinstance(value, bytes | bytearray | memoryview) else "pick what identifies the user"
    raise TypeError(f"{_told(value)}: it must be {_WANTED}; {hint}.")


def _is_object_id(value: object) -> bool:
    """Whether it is an id of MongoDB's. Its package is not imported here: who has one has imported it."""
    kind = type(value)
    return kind.__module__ == "bson.objectid" and kind.__name__ == "ObjectId"


def _told(value: object) -> str:
    """How an error begins. Without the value: it may be a secret."""
    return f"current_owner() returned a value of type {type(value).__name__}"
