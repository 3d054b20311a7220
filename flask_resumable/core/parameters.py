"""Parses the parameters of ``Content-Disposition``, as HTTP, browsers and other clients write them.

HTTP escapes ``"`` and ``\\`` in quoted values with a backslash. Browsers do not: in a form, they write ``%22`` for
``"`` and leave backslashes alone, so ``filename="a\\"`` is complete. If one reading does not fit all of the parameters,
the other one is tried.

Spec: RFC 9110 "Parameters", RFC 6266; HTML "multipart/form-data".
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_KIND = re.compile(rf"[ \t]*{_TOKEN}[ \t]*")
_ESCAPED, _LITERAL = (
    (re.compile(rf";[ \t]*(?:({_TOKEN})[ \t]*=[ \t]*({_TOKEN}|{quoted}))?[ \t]*", re.DOTALL), is_escaped)
    for quoted, is_escaped in ((r'"(?:[^"\\]|\\.)*"', True), ('"[^"]*"', False))
)
_ESCAPE = re.compile(r"\\([\"\\])")  # others are rather folders of a client that escapes nothing: C:\dir\a.txt
_PERCENT = re.compile("%(22|0D|0A)")
_BETWEEN = re.compile(rf";[ \t]*(?={_TOKEN}[ \t]*=)")
_EXTENDED = re.compile(r"(?i:(utf-8|iso-8859-1))'[A-Za-z0-9\-]*'((?:%[0-9A-Fa-f]{2}|[!#$&+\-.^_`|~0-9A-Za-z])*)")


def parse_parameters(value: str, *, is_form: bool = False) -> dict[str, str] | None:
    """Return the parameters by their names in lower case, or ``None`` if they are malformed in both readings.

    The first of several parameters with the same name counts. Values of names that end with ``*`` remain encoded.

    :param is_form: Try the reading of browsers first.
    """
    kind = _KIND.match(value)
    if kind is None:
        return None
    for reading, is_escaped in (_LITERAL, _ESCAPED) if is_form else (_ESCAPED, _LITERAL):
        parameters: dict[str, str] = {}
        position = kind.end()
        while (found := reading.match(value, position)) is not None:
            if found[1] is not None:
                parameters.setdefault(found[1].lower(), _unquoted(found[2], is_escaped=is_escaped))
            position = found.end()
        if position == len(value):
            return parameters
    return None


def form_parameters(value: str) -> dict[str, str]:
    """Return the parameters of a part of a form, even if they are malformed, as with quotes that are not escaped.

    In the name of the field, ``%22``, ``%0D`` and ``%0A`` are decoded.
    """
    parameters = parse_parameters(value, is_form=True)
    if parameters is None:
        parameters = {}
        for piece in _BETWEEN.split(value)[1:]:
            name, _, said = piece.partition("=")
            said = said.strip("; \t")
            quoted = said[1:].removesuffix('"') if said.startswith('"') else said
            parameters.setdefault(name.strip().lower(), quoted)
    if "name" in parameters:
        parameters["name"] = _PERCENT.sub(lambda found: chr(int(found[1], 16)), parameters["name"])
    elif "name*" in parameters:
        parameters["name"] = decode_extended(parameters["name*"])
    return parameters


def decode_extended(value: str) -> str:
    """Return the text of a parameter whose name ends with ``*``, or an empty string if it is malformed.

    Spec: RFC 8187.
    """
    found = _EXTENDED.fullmatch(value)
    return "" if found is None else unquote_to_bytes(found[2]).decode(found[1], "replace")


def _unquoted(value: str, *, is_escaped: bool) -> str:
    if not value.startswith('"'):
        return value
    return _ESCAPE.sub(r"\1", value[1:-1]) if is_escaped else value[1:-1]
