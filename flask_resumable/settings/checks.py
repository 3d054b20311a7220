"""Checks for the values of settings.

Each check returns the value to use, or raises ``ValueError`` with the text that follows "must be" in the error. Values
may come from the environment. So every check also accepts a string, and the values that
:meth:`flask.Config.from_prefixed_env` makes of strings that are valid JSON.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from datetime import timedelta
from fractions import Fraction
from typing import Any
from urllib.parse import SplitResult
from urllib.parse import urlsplit

from ..core.fields import is_token
from ..core.origins import normal_origin
from ..core.upload import MAX_LENGTH

LONGEST = timedelta(days=36525)  # a hundred years; a time that is much further away cannot be represented

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0", "")
_NONE = ("none", "null")
_NUMBER = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?(?:e\+?[0-9]{1,2})?) ?([a-z]*)", re.ASCII | re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
_ORIGINS = "a list of origins such as 'https://example.org', or '*'"


def choice(*allowed: Any) -> Callable[[Any], Any]:
    """Accept one of a few values."""

    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(map(repr, allowed))}")
        return value

    return check


def flag(value: Any) -> bool:
    """Accept ``True`` or ``False``, also as a word or a digit. An empty string is ``False``, as for Flask's own."""
    said = _word(value)
    if said in _TRUE:
        return True
    if said in _FALSE:
        return False
    raise ValueError("True or False")


def optional_flag(value: Any) -> bool | None:
    """Accept ``True``, ``False``, or ``None`` for the default behavior."""
    if is_none(value):
        return None
    try:
        return flag(value)
    except ValueError:
        raise ValueError("True, False or None") from None


def downloads(value: Any) -> str | bool:
    """Accept the ways of serving finished uploads, or ``False``."""
    if value in ("stream", "redirect", "x-accel-redirect"):
        return str(value)
    try:
        return "stream" if flag(value) else False
    except ValueError:
        raise ValueError("True, False, 'stream', 'redirect' or 'x-accel-redirect'") from None


def whole(minimum: int, maximum: int = MAX_LENGTH) -> Callable[[Any], int]:
    """Accept an integer within a range."""

    def check(value: Any) -> int:
        found = _number(value, {"": 1})
        if found is None or found.denominator != 1 or not minimum <= found <= maximum:
            raise ValueError(f"an integer from {minimum} to {maximum}")
        return int(found)

    return check


def size(minimum: int, maximum: int = MAX_LENGTH) -> Callable[[Any], int]:
    """Accept a number of bytes within a range."""

    def check(value: Any) -> int:
        found = _number(value, _BYTES)
        if found is None or found.denominator != 1 or not minimum <= found <= maximum:
            raise ValueError(
                f"a number of bytes from {minimum} to {maximum}, or a size such as '10MB' (10 * 1000 * 1000 bytes) or "
                "'10MiB' (10 * 1024 * 1024 bytes)"
            )
        return int(found)

    return check


def optional_size(minimum: int, maximum: int = MAX_LENGTH) -> Callable[[Any], int | None]:
    """Accept a number of bytes within a range, or ``None`` for no limit."""
    check = size(minimum, maximum)

    def optional(value: Any) -> int | None:
        if is_none(value):
            return None
        try:
            return check(value)
        except ValueError as error:
            raise ValueError(f"{error}; or None for no limit") from None

    return optional


def seconds(value: Any) -> timedelta:
    """Accept a duration, as seconds or a ``timedelta``."""
    found = value if isinstance(value, timedelta) else _number(value, _SECONDS)
    if isinstance(found, Fraction) and 0 < found <= Fraction(LONGEST.total_seconds()):
        found = timedelta(seconds=float(found))
    if not isinstance(found, timedelta) or not timedelta(0) < found <= LONGEST:
        raise ValueError(
            f"a positive number of seconds, a duration such as '90s', '15m', '12h' or '7d', or a timedelta, and at "
            f"most {LONGEST.days} days"
        )
    return found


def whole_seconds(maximum: int) -> Callable[[Any], int]:
    """Accept a duration in whole seconds, which may be zero."""

    def check(value: Any) -> int:
        is_duration = isinstance(value, timedelta)
        found = Fraction(value / timedelta(seconds=1)) if is_duration else _number(value, _SECONDS)
        if found is None or found.denominator != 1 or not 0 <= found <= maximum:
            raise ValueError(f"a whole number of seconds from 0 to {maximum}")
        return int(found)

    return check


def expiration(value: Any) -> timedelta | None:
    """Accept a duration, or ``None`` for never."""
    if is_none(value):
        return None
    try:
        return seconds(value)
    except ValueError as error:
        raise ValueError(f"{error}; or None for never") from None


def url(value: Any) -> str:
    """Accept a URL path of the app, and make it end with a slash."""
    if not isinstance(value, str) or not value.startswith("/") or "<" in value or "//" in value:
        raise ValueError("a path that starts with '/', such as '/files/'")
    return value.rstrip("/") + "/"


def public_url(value: Any) -> str | None:
    """Accept the URL at which clients reach the app, and make it end without a slash; or ``None``."""
    if is_none(value):
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
    if is_none(value):
        return None
    is_path = isinstance(value, str) and value.startswith("/") and _split_url(f"http://host{value}") is not None
    if not is_path or "//" in value or not _is_plain_path(value):
        raise ValueError("a path that starts with '/', such as '/uploads/', or None")
    return str(value).rstrip("/") + "/"


def metrics(value: Any) -> Any:
    """Accept ``True``, ``False`` or a registry of metrics."""
    return value if hasattr(value, "register") and hasattr(value, "collect") else flag(value)


def optional_path(value: Any) -> str | None:
    """Accept the URL path of a single page, or ``None``."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith("/") or value.endswith("/") or "<" in value or "//" in value:
        raise ValueError("a path that starts with '/' and does not end with it, such as '/metrics', or None")
    return value


def text(value: Any) -> str:
    """Accept a string or path that is not empty. A number stands for its digits: the environment may have quoted it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError("a non-empty string")
    return os.fsdecode(value)


def optional_count(value: Any) -> int | None:
    """Accept a number that is not negative, or ``None`` for no limit."""
    if is_none(value):
        return None
    try:
        return whole(0)(value)
    except ValueError as error:
        raise ValueError(f"{error}; or None for no limit") from None


def optional_text(value: Any) -> str | None:
    """Accept a non-empty string, or ``None``."""
    return None if is_none(value) else text(value)


def link_lifetime(value: Any) -> timedelta:
    """Accept a duration for which stores sign links."""
    if not timedelta(seconds=1) <= (found := seconds(value)) <= timedelta(days=7):
        raise ValueError("from one second to seven days, the range that stores allow")
    return found


def bucket(value: Any) -> str | None:
    """Accept the name of a bucket, or ``None``."""
    found = None if value is None else text(value)
    if found is not None and (not found.isprintable() or "/" in found):
        raise ValueError("the name of a bucket, without '/'")
    return found


def prefix(value: Any) -> str:
    """Accept the prefix of the keys in a bucket."""
    is_text = isinstance(value, str) and value.isprintable()
    if not is_text or (value and (value[-1] != "/" or {"", ".", ".."} & set(value[:-1].split("/")))):
        raise ValueError("a string such as 'uploads/', which ends with '/' and does not start with it, or ''")
    return str(value)


def endpoint(value: Any) -> str | None:
    """Accept the URL of a store. It may end up in the log, so a password is refused."""
    if is_none(value):
        return None
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("a URL such as 'https://s3.example.org', without a user name or password")
    return str(value)


def names(*allowed: str) -> Callable[[Any], tuple[str, ...]]:
    """Accept a list of strings, or one string with commas, each item one of ``allowed`` if any are given."""

    def check(value: Any) -> tuple[str, ...]:
        found = _items(value)
        unknown = [name for name in found if allowed and name not in allowed]
        if unknown:
            raise ValueError(f"a list of any of {', '.join(allowed)}")
        return found

    return check


def media_types(value: Any) -> tuple[str, ...]:
    """Accept a list of media types."""
    found = _items(value)
    if not all(_MEDIA_TYPE.fullmatch(kind) for kind in found):
        raise ValueError("a list of media types such as 'image/png'")
    return found


def origins(value: Any) -> tuple[str | re.Pattern[str], ...]:
    """Accept one origin, or a list of them, and return them as browsers write them."""
    found = (value,) if isinstance(value, re.Pattern) else _items(value) if isinstance(value, str) else value
    is_list = isinstance(found, Iterable) and not isinstance(found, bytes | Mapping)
    if not is_list or not all(map(_is_text_or_pattern, found := tuple(found))):
        raise ValueError(_ORIGINS)
    try:
        return tuple(normal_origin(origin) if isinstance(origin, str) else origin for origin in found)
    except ValueError as error:
        raise ValueError(f"{_ORIGINS}; {error}") from None


def _is_text_or_pattern(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, re.Pattern) and isinstance(value.pattern, str))


def header_names(value: Any) -> tuple[str, ...]:
    """Accept a list of header names, or ``"*"``."""
    found = _items(value)
    if not all(map(is_token, found)):
        raise ValueError("a list of header names such as ['X-API-Key'], or '*'")
    return found


def callback(value: Any) -> Any:
    """Accept a function or another callable, or ``None``."""
    if is_none(value):
        return None
    if not callable(value):
        raise ValueError("a callable, or None")
    return value


def key_patterns(value: Any) -> tuple[str, ...]:
    """Accept a list of keys, in which ``*`` stands for anything."""
    found = _items(value)
    if not all(re.fullmatch(r"[\w*-]*\w[\w*-]*", key) for key in found):
        raise ValueError("a list of keys such as 'TUS_TOKEN' or 'TUS_AUTH_*'")
    return found


def is_none(value: Any) -> bool:
    """Whether this is ``None``, or how the environment says it."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _NONE)


def _word(value: Any) -> str | None:
    """Return a Boolean value, a number or a string as a word in lower case."""
    return str(value).strip().lower() if isinstance(value, bool | int | str) else None


def _number(value: Any, units: Mapping[str, int]) -> Fraction | None:
    """Return a number, or the number that a string stands for, in the unit that counts 1. ``None`` if it is neither."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip())
        unit = None if match is None else units.get(match[2].lower())
        return None if match is None or unit is None else Fraction(match[1]) * unit
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return Fraction(value)
    except (ValueError, OverflowError):  # not a number, or infinity
        return None


def _items(value: Any) -> tuple[str, ...]:
    """Return the items of a list of strings. A string has commas between them, or is a JSON array."""
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith("["):
            return tuple(item for part in text.split(",") if (item := part.strip()))
        try:
            value = json.loads(text)
        except ValueError:
            value = None
    is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    found = tuple(value) if is_list else ()
    if not is_list or not all(isinstance(item, str) for item in found):
        raise ValueError("a list of strings, or one string with commas between them")
    return found


def optional_mapping(value: Any) -> dict[str, Any] | None:
    """Accept a dict whose keys are strings, or ``None``."""
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("a dict whose keys are strings")
    return value


def locations(value: Any) -> dict[str, str] | None:
    """Accept a dict of URL paths and folders, or ``None``. The paths are made to end with a slash."""
    if value is None:
        return None
    if not isinstance(value, dict) or not value:
        raise ValueError("a dict such as {'/_uploads/': '/data/uploads'}")
    return {url(location): text(folder) for location, folder in value.items()}
