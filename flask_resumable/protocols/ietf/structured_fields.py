"""Parses the structured fields that the draft uses.

A field that is not what it should be counts as absent, as the draft says: nothing here raises an error. Parameters are
allowed everywhere and mean nothing.

Spec: RFC 9651.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

_KEY = r"[a-z*][a-z0-9_\-.*]*"
_BARE = (
    r"(?:"
    r"-?[0-9]{1,12}\.[0-9]{1,3}"  # a decimal
    r"|-?[0-9]{1,15}"
    r'|"(?:[ !#-\[\]-~]|\\["\\])*"'  # a string
    r"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*"  # a token
    r"|:[A-Za-z0-9+/=]*:"  # bytes
    r"|\?[01]"
    r"|@-?[0-9]{1,15}"  # a date
    r'|%"(?:[ !#$&-~]|%[0-9a-f]{2})*"'  # a string that may not be ASCII
    r")"
)
_PARAMETERS = rf"(?:; *{_KEY}(?:={_BARE})?)*"
_LIST = rf"\( *(?:{_BARE}{_PARAMETERS}(?: +{_BARE}{_PARAMETERS})*)? *\)"

_BOOLEAN = re.compile(rf" *\?([01]){_PARAMETERS} *")
_INTEGER = re.compile(rf" *(-?[0-9]{{1,15}}){_PARAMETERS} *")
_MEMBER = re.compile(rf"({_KEY})(?:=({_BARE}|{_LIST}))?{_PARAMETERS}")
_COMMA = re.compile(r"[ \t]*,[ \t]*")


def parse_boolean(value: str | None) -> bool | None:
    """Return the value of an Item that is a Boolean, or ``None``."""
    found = _BOOLEAN.fullmatch(value or "")
    return None if found is None else found[1] == "1"


def parse_integer(value: str | None) -> int | None:
    """Return the value of an Item that is an Integer and not negative, or ``None``."""
    found = _INTEGER.fullmatch(value or "")
    return None if found is None or int(found[1]) < 0 else int(found[1])


def parse_dictionary(value: str | None) -> dict[str, str]:
    """Return the members of a Dictionary, as they are written. If a key is repeated, the last one counts."""
    text = (value or "").lstrip(" ").rstrip(" \t")
    members: dict[str, str] = {}
    position = 0
    while position < len(text):
        found = _MEMBER.match(text, position)
        if found is None:
            return {}
        members[found[1]] = "?1" if found[2] is None else found[2]
        position = found.end()
        if position < len(text):
            comma = _COMMA.match(text, position)
            if comma is None or comma.end() == len(text):
                return {}
            position = comma.end()
    return members


def parse_bytes(member: str) -> bytes | None:
    """Return the value of a member that is a Byte Sequence, or ``None``."""
    if len(member) < 2 or member[0] != ":" or member[-1] != ":":
        return None
    text = member[1:-1].rstrip("=")  # the RFC asks parsers to do without padding
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None


def boolean(value: bool) -> str:
    """Return an Item that is a Boolean."""
    return "?1" if value else "?0"


def dictionary(members: Mapping[str, int]) -> str:
    """Return a Dictionary of Integers."""
    return ", ".join(f"{key}={value}" for key, value in members.items())


def byte_sequence(value: bytes) -> str:
    """Return a Byte Sequence."""
    return f":{base64.b64encode(value).decode()}:"
