"""Parses what a client says about its file in the fields of HTTP."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf';[ \t]*(?:({_TOKEN})[ \t]*=[ \t]*({_TOKEN}|"(?:[^"\\]|\\.)*"))?[ \t]*')
_KIND = re.compile(rf"[ \t]*{_TOKEN}[ \t]*")
_EXTENDED = re.compile(r"(?i:(utf-8|iso-8859-1))'[A-Za-z0-9\-]*'((?:%[0-9A-Fa-f]{2}|[!#$&+\-.^_`|~0-9A-Za-z])*)")
_MEDIA_TYPE = re.compile(rf"({_TOKEN}/{_TOKEN})[ \t]*(?:;.*)?")
MAX_NAME = 255  # in characters


def filename_of(value: str | None) -> str | None:
    """Return the name in a ``Content-Disposition`` field, without folders, or ``None`` if there is none.

    ``filename*`` takes precedence. A field that cannot be parsed counts as absent.

    Spec: RFC 6266, RFC 8187.
    """
    kind = _KIND.match(value or "")
    if value is None or kind is None:
        return None
    parameters: dict[str, str] = {}
    position = kind.end()
    while position < len(value):
        found = _PARAMETER.match(value, position)
        if found is None:
            return None
        if found[1] is not None:
            parameters.setdefault(found[1].lower(), found[2])
        position = found.end()
    name = _extended(parameters.get("filename*", "")) or _plain(parameters.get("filename", ""))
    return _without_folders(name)


def _extended(value: str) -> str:
    found = _EXTENDED.fullmatch(value)
    return "" if found is None else unquote_to_bytes(found[2]).decode(found[1], "replace")


def _plain(value: str) -> str:
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:  # many clients send UTF-8, which WSGI passes on as Latin-1
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _without_folders(name: str) -> str | None:
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[:MAX_NAME].strip() or None


def media_type_of(value: str | None) -> str | None:
    """Return the media type in a ``Content-Type`` field, without parameters, or ``None`` if it is not valid."""
    found = _MEDIA_TYPE.fullmatch((value or "").strip(" \t"))
    return None if found is None else found[1].lower()
