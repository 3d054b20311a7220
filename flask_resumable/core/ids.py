"""The ids of uploads, and the names of their bytes.

An id is random, or the app chooses it. The bytes of an upload with a random id have the id as their name. An id that
the app chose can be used again once its upload is removed, so its bytes have a name of their own, ``<id>-<random>``: a
late write for the removed upload cannot reach the new one.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_CHOSEN = r"[a-z0-9_][a-z0-9_-]{0,63}"  # lower-case, so that no collation and no file system takes two for one
_RANDOM = r"[0-9a-f]{32}"  # 128 random bits

ID_PATTERN = re.compile(_CHOSEN)  # random ids match it, too
RANDOM_PATTERN = re.compile(_RANDOM)
NAME_PATTERN = re.compile(rf"(?:({_CHOSEN})-)?{_RANDOM}")


def name_of(upload_id: str, random_id: str) -> str:
    """Return the name of the bytes of an upload whose id the app chose instead of ``random_id``."""
    return f"{upload_id}-{random_id}"


def id_in(name: str) -> str | None:
    """Return the id of the upload whose bytes have this name, or ``None`` if it is not such a name."""
    match = NAME_PATTERN.fullmatch(name)
    return None if match is None else match[1] or name


def checked_choice(chosen: object, reserved: Collection[str] = ()) -> str:
    """Return an id that the app chose.

    :param reserved: Ids whose URLs have another meaning.
    :raises TypeError: It is not a string.
    :raises ValueError: It is not a valid id.
    """
    if not isinstance(chosen, str):
        raise TypeError(f"choose_id() returned {chosen!r}, which is not a string; use None for a random id.")
    if not ID_PATTERN.fullmatch(chosen):
        raise ValueError(
            f"choose_id() returned {chosen!r}, which is not a valid id: use 1 to 64 lower-case letters, digits, '-' "
            "and '_', and no '-' at the start."
        )
    if chosen in reserved:
        raise ValueError(f"choose_id() returned {chosen!r}, which is reserved: its URL has another meaning.")
    return chosen
