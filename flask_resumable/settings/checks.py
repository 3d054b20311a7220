"""Checks for the values of settings.

Each check returns the value to use, or raises ``ValueError`` with the text that follows "must be" in the error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import SplitResult
from urllib.parse import urlsplit

from ..core.upload import MAX_LENGTH


def choice(*allowed: Any) -> Callable[[Any], Any]:
    """Accept one of a few values."""

    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(map(repr, allowed))}")
        return value

    return check


def flag(value: Any) -> bool:
    """Accept ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def optional_flag(value: Any) -> bool | None:
    """Accept ``True``, ``False``, or ``None`` for the default behavior."""
    return None if value is None else flag(value)


def downloads(value: Any) -> str | bool:
    """Accept the ways of serving finished uploads, or ``False``."""
    if value is not True and value is not False and value not in ("stream", "redirect"):
        raise ValueError("True, False, 'stream' or 'redirect'")
    return "stream" if value is True else value


def whole(minimum: int, maximum: int = MAX_LENGTH) -> Callable[[Any], int]:
    """Accept an integer within a range."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError(f"an integer from {minimum} to {maximum}")
        return value

    return check


def max_size(value: Any) -> int | None:
    """Accept a number of bytes, or ``None`` for no limit."""
    return None if value is None else whole(0)(value)


def append_size(value: Any) -> int | None:
    """Accept a number of bytes that is not zero, or ``None`` for no limit."""
    return None if value is None else whole(1, 10**15 - 1)(value)


def seconds(value: Any) -> timedelta:
    """Accept a duration, as seconds or a ``timedelta``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = timedelta(seconds=value)
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ValueError("a positive number of seconds or a timedelta")
    return value


def expiration(value: Any) -> timedelta | None:
    """Accept a ``timedelta``, or ``None`` for never."""
    if value is not None and (not isinstance(value, timedelta) or value <= timedelta(0)):
        raise ValueError("a positive timedelta, or None for never")
    return value


def url(value: Any) -> str:
    """Accept a URL path of the app, and make it end with a slash."""
    if not isinstance(value, str) or not value.startswith("/") or "<" in value or "//" in value:
        raise ValueError("a path that starts with '/', such as '/files/'")
    return value.rstrip("/") + "/"


def public_url(value: Any) -> str | None:
    """Accept the URL at which clients reach the app, and make it end without a slash; or ``None``."""
    if value is None:
        return None
    base = _split_url(value)
    if base is None or not _is_plain_path(base.path):
        raise ValueError("a URL such as 'https://example.org/api': only ASCII, no query, fragment or user, or None")
    return f"{base.scheme}://{base.netloc}{base.path.rstrip('/')}"


def _split_url(value: Any) -> SplitResult | None:
    """Return the parts of an HTTP URL that names a place on a host, or ``None`` if it is something else."""
    if not isinstance(value, str) or not value.isascii() or re.search(r"[^!-~]|[?#\\\"<>^`{|}]", value):
        return None
    try:
        parts = urlsplit(value)
        is_complete = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        return parts if is_complete and parts.port != 0 else None
    except ValueError:  # for example, the port is not a number
        return None


def _is_plain_path(path: str) -> bool:
    """Whether clients that normalize a URL leave this path as it is."""
    return not {"", ".", ".."} & set(path.strip("/").split("/")) or not path.strip("/")


def public_path(value: Any) -> str | None:
    """Accept the path of a protocol as clients see it, and make it end with a slash; or ``None``."""
    if value is None:
        return None
    is_path = isinstance(value, str) and value.startswith("/") and _split_url(f"http://host{value}") is not None
    if not is_path or "//" in value or not _is_plain_path(value):
        raise ValueError("a path that starts with '/', such as '/uploads/', or None")
    return str(value).rstrip("/") + "/"


def text(value: Any) -> str:
    """Accept a string or path that is not empty."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError("a non-empty string")
    return str(os.fspath(value))


def optional_text(value: Any) -> str | None:
    """Accept a non-empty string, or ``None``."""
    return None if value is None else text(value)


def link_lifetime(value: Any) -> timedelta:
    """Accept a duration for which stores sign links."""
    if not timedelta(seconds=1) <= (found := seconds(value)) <= timedelta(days=7):
        raise ValueError("from one second to seven days, the range that stores allow")
    return found


def bucket(value: Any) -> str | None:
    """Accept the name of a bucket, or ``None``."""
    if value is not None and (not isinstance(value, str) or not value.isprintable() or not value or "/" in value):
        raise ValueError("the name of a bucket, without '/'")
    return value


def prefix(value: Any) -> str:
    """Accept the prefix of the keys in a bucket."""
    is_text = isinstance(value, str) and value.isprintable()
    if not is_text or (value and (value[-1] != "/" or {"", ".", ".."} & set(value[:-1].split("/")))):
        raise ValueError("a string such as 'uploads/', which ends with '/' and does not start with it, or ''")
    return str(value)


def endpoint(value: Any) -> str | None:
    """Accept the URL of a store. It may end up in the log, so a password is refused."""
    if value is None:
        return None
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("a URL such as 'https://s3.example.org', without a user name or password")
    return str(value)


def names(*allowed: str) -> Callable[[Any], tuple[str, ...]]:
    """Accept a list of strings, each one of ``allowed`` if any are given."""

    def check(value: Any) -> tuple[str, ...]:
        if isinstance(value, str) or not all(isinstance(name, str) for name in value):
            raise ValueError("a list of strings")
        unknown = [name for name in value if allowed and name not in allowed]
        if unknown:
            raise ValueError(f"a list of any of {', '.join(allowed)}")
        return tuple(value)

    return check


def origins(value: Any) -> tuple[str, ...]:
    """Accept one origin, or a list of them."""
    origins = (value,) if isinstance(value, str) else names()(value)
    for origin in origins:
        scheme, separator, host = origin.partition("://")
        if origin != "*" and not (scheme and separator and host and "/" not in host):
            raise ValueError("a list of origins such as 'https://example.org' (without a path), or '*'")
    return origins


def callback(value: Any) -> Any:
    """Accept a function or another callable, or ``None``."""
    if value is not None and not callable(value):
        raise ValueError("a callable, or None")
    return value


def folder(value: Any) -> str | None:
    """Accept the path of a folder, or ``None``."""
    return None if value is None else os.path.abspath(text(value))
