"""What the value of a setting must be: each check returns the value to use, or raises ``ValueError`` with the rule."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from ..core.upload import MAX_LENGTH


def choice(*allowed: Any) -> Callable[[Any], Any]:
    """One out of a few."""

    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(map(repr, allowed))}")
        return value

    return check


def flag(value: Any) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def optional_flag(value: Any) -> bool | None:
    """Yes, no, or as it comes."""
    return None if value is None else flag(value)


def downloads(value: Any) -> str | bool:
    """How finished uploads are given out, if they are."""
    if value is not True and value is not False and value not in ("stream", "redirect"):
        raise ValueError("True, False, 'stream' or 'redirect'")
    return "stream" if value is True else value


def whole(minimum: int, maximum: int = MAX_LENGTH) -> Callable[[Any], int]:
    """A whole number between two."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError(f"a whole number from {minimum} to {maximum}")
        return value

    return check


def max_size(value: Any) -> int | None:
    """Bytes, or no limit."""
    return None if value is None else whole(0)(value)


def seconds(value: Any) -> timedelta:
    """A length of time."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = timedelta(seconds=value)
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ValueError("a positive number of seconds, or a timedelta")
    return value


def expiration(value: Any) -> timedelta | None:
    """A length of time, or for ever."""
    if value is not None and (not isinstance(value, timedelta) or value <= timedelta(0)):
        raise ValueError("a positive datetime.timedelta, or None for never")
    return value


def url(value: Any) -> str:
    """A path of this app, with a slash at its end."""
    if not isinstance(value, str) or not value.startswith("/") or "<" in value or "//" in value:
        raise ValueError("a path that begins with '/', such as '/files/'")
    return value.rstrip("/") + "/"


def text(value: Any) -> str:
    """A text that says something."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError("a text that is not empty")
    return str(os.fspath(value))


def optional_text(value: Any) -> str | None:
    """A text that says something, or none."""
    return None if value is None else text(value)


def link_lifetime(value: Any) -> timedelta:
    """A length of time that stores sign links for."""
    if not timedelta(seconds=1) <= (found := seconds(value)) <= timedelta(days=7):
        raise ValueError("from one second to seven days, as stores allow")
    return found


def bucket(value: Any) -> str | None:
    """The name of a bucket."""
    if value is not None and (not isinstance(value, str) or not value.isprintable() or not value or "/" in value):
        raise ValueError("the name of a bucket")
    return value


def prefix(value: Any) -> str:
    """What keys in a bucket begin with."""
    is_text = isinstance(value, str) and value.isprintable()
    if not is_text or (value and (value[-1] != "/" or {"", ".", ".."} & set(value[:-1].split("/")))):
        raise ValueError("a text such as 'uploads/', with '/' at its end and not at its beginning, or ''")
    return str(value)


def endpoint(value: Any) -> str | None:
    """Where a store is. Whoever may read the log may read it, so a password has no place in it."""
    if value is None:
        return None
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("a URL such as 'https://s3.example.org', without a name or password")
    return str(value)


def names(*allowed: str) -> Callable[[Any], tuple[str, ...]]:
    """A list of texts, out of ``allowed`` if any are given."""

    def check(value: Any) -> tuple[str, ...]:
        if isinstance(value, str) or not all(isinstance(name, str) for name in value):
            raise ValueError("a list of texts")
        unknown = [name for name in value if allowed and name not in allowed]
        if unknown:
            raise ValueError(f"a list out of {', '.join(allowed)}")
        return tuple(value)

    return check


def origins(value: Any) -> tuple[str, ...]:
    """Origins of pages."""
    origins = (value,) if isinstance(value, str) else names()(value)
    for origin in origins:
        scheme, separator, host = origin.partition("://")
        if origin != "*" and not (scheme and separator and host and "/" not in host):
            raise ValueError("a list of origins such as 'https://example.org' (no path), or '*'")
    return origins


def callback(value: Any) -> Any:
    """Something to call, or nothing."""
    if value is not None and not callable(value):
        raise ValueError("something to call, or None")
    return value


def folder(value: Any) -> str | None:
    """A folder, or none."""
    return None if value is None else os.path.abspath(text(value))
