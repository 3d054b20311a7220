"""Reads header fields and form parameters in the way that all protocols share."""

from __future__ import annotations

import re
from typing import Protocol

from ..errors import InvalidRequest
from .upload import MAX_LENGTH

# int() also accepts "+5", "1_0", " 7 " and digits of other scripts, which a header must not contain.
_NUMBER = re.compile(r"[0-9]{1,19}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Fields(Protocol):
    """Request headers or form fields: anything with a ``get`` method."""

    def get(self, key: str, /) -> str | None: ...


def whole_number(text: str, name: str) -> int:
    """Parse a number of bytes or chunks.

    :param name: What the error message calls the field.
    :raises InvalidRequest: The text is not an integer from 0 to ``MAX_LENGTH``.
    """
    if not _NUMBER.fullmatch(text) or int(text) > MAX_LENGTH:
        raise InvalidRequest(f"{name} must be an integer from 0 to {MAX_LENGTH}.")
    return int(text)


def is_token(text: str) -> bool:
    """Whether a text can be the name of a header. Spec: RFC 9110, "Tokens"."""
    return _TOKEN.fullmatch(text) is not None
