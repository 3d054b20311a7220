"""Where an upload's bytes are to go: decided by the app when it is created, and kept for as long as it lives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from typing import Self

KEY = "place"  # in Upload.storage; all other keys there are the storage's own

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_DEPTH = 8  # segments


@dataclass(frozen=True, slots=True)
class Place:
    """A storage, by the name that the app gave it, and a folder below it.

    :param storage: ``None``: the only one, or the first.
    :param folder: Names with ``/`` between them; empty: none.
    :raises ValueError: The folder could lead somewhere else.
    """

    storage: str | None = None
    folder: str = ""

    def __post_init__(self) -> None:
        segments = self.folder.split("/") if self.folder else []
        if len(segments) > _MAX_DEPTH or not all(NAME.fullmatch(segment) for segment in segments):
            raise ValueError(
                f"{self.folder!r} is no folder for uploads: it takes names of 1 to 64 letters, digits, '-' and '_', "
                f"with '/' between them, {_MAX_DEPTH} at most."
            )

    @classmethod
    def of(cls, notes: Mapping[str, Any]) -> Self:
        """The place that ``Upload.storage`` tells. Checked again: a folder becomes a part of paths and keys."""
        noted = notes.get(KEY) or {}
        return cls(noted.get("storage"), noted.get("folder") or "")

    def note(self, notes: Mapping[str, Any]) -> Mapping[str, Any]:
        """``notes`` with this place in them, unless there is nothing to note."""
        said = {"storage": self.storage, "folder": self.folder}
        noted = {name: value for name, value in said.items() if value}
        return {**notes, KEY: noted} if noted else notes


def keep(before: Mapping[str, Any], after: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a storage wants to be noted ``after``, with the place as it was noted ``before``."""
    return {**after, KEY: before[KEY]} if KEY in before else after
