"""Header fields and form parameters, as far as every protocol reads them alike."""

from __future__ import annotations

import re
from typing import Protocol

from ..errors import InvalidRequest
from .upload import MAX_LENGTH

# int() also takes "+5", "1_0", " 7 " and digits of other scripts; a header may not.
_NUMBER = re.compile(r"[0-9]{1,19}")


class Fields(Protocol):
    """Request headers or form fields: anything with ``get``."""

    def get(self, key: str, /) -> str | None: ...


def whole_number(text: str, name: str) -> int:
    """A number of bytes or chunks.

    :raises InvalidRequest: It is not a whole number that an upload can have; the message has ``name``.
    """
    if not _NUMBER.fullmatch(text) or int(text) > MAX_LENGTH:
        raise InvalidRequest(f"{name} is not a whole number from 0 to {MAX_LENGTH}.")
    return int(text)
