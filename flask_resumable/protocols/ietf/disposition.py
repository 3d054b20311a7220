"""Parses what a client says about its file in the fields of HTTP."""

from __future__ import annotations

import re

from ...core.parameters import decode_extended
from ...core.parameters import parse_parameters

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_MEDIA_TYPE = re.compile(rf"({_TOKEN}/{_TOKEN})[ \t]*(?:;.*)?")
MAX_NAME = 255  # in characters


def filename_of(value: str | None) -> str | None:
    """Return the name in a ``Content-Disposition`` field, without folders, or ``None`` if there is none.

    ``filename*`` takes precedence. A field that cannot be parsed counts as absent.

    Spec: RFC 6266, RFC 8187.
    """
    parameters = None if value is None else parse_parameters(value)
    if parameters is None:
        return None
    name = decode_extended(parameters.get("filename*", "")) or _plain(parameters.get("filename", ""))
    return _without_folders(name)


def _plain(value: str) -> str:
    try:  # many clients send UTF-8, which WSGI passes on as Latin-1
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _without_folders(name: str) -> str | None:
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[:MAX_NAME].strip() or None


def media_type_of(value: str | None) -> str | None:
    """Return the media type in a ``Content-Type`` field, without parameters, or ``None`` if it is not valid."""
    found = _MEDIA_TYPE.fullmatch((value or "").strip(" \t"))
    return None if found is None else found[1].lower()
