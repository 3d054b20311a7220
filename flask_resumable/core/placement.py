"""Where an upload's bytes are stored. The app decides this when the upload is created, and it never changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Self

KEY = "place"  # in Upload.storage; all other keys there belong to the storage
_NAME = "name"  # the name of the bytes, if it is not the upload's id

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_DEPTH = 8  # segments


@dataclass(frozen=True, slots=True)
class Place:
    """A storage and a folder in it.

    :param storage: The storage's name in the app, or ``None`` for the first or only one.
    :param folder: Names separated by ``/``, or empty for none.
    :param parameters: What the storage is told about this upload, in its own words.
    :raises ValueError: ``folder`` is not of this form, so it could lead anywhere.
    """

    storage: str | None = None
    folder: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        segments = self.folder.split("/") if self.folder else []
        if len(segments) > _MAX_DEPTH or not all(NAME.fullmatch(segment) for segment in segments):
            raise ValueError(
                f"{self.folder!r} is not a valid folder for uploads: use up to {_MAX_DEPTH} names of 1 to 64 letters, "
                "digits, '-' and '_', separated by '/'."
            )

    @classmethod
    def of(cls, notes: Mapping[str, Any]) -> Self:
        """Return the place recorded in ``Upload.storage``. Checked again, because it becomes part of paths and keys."""
        noted = notes.get(KEY) or {}
        return cls(noted.get("storage"), noted.get("folder") or "", noted.get("parameters") or {})

    def note(self, notes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``notes`` with this place added, if it differs from the default. The name of the bytes stays."""
        named = (notes.get(KEY) or {}).get(_NAME)
        said = {_NAME: named, "storage": self.storage, "folder": self.folder, "parameters": dict(self.parameters)}
        noted = {name: value for name, value in said.items() if value}
        return {**notes, KEY: noted} if noted else notes


def keep(before: Mapping[str, Any], after: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the storage's new data ``after``, with the place that was recorded in ``before``."""
    return {**after, KEY: before[KEY]} if KEY in before else after


def with_name(notes: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return ``notes`` with the name of the bytes."""
    return {**notes, KEY: {**(notes.get(KEY) or {}), _NAME: name}}


def name_in(notes: Mapping[str, Any]) -> str | None:
    """Return the name of the bytes, or ``None`` if it is the upload's id."""
    return notes[KEY].get(_NAME) if KEY in notes else None


def storage_of(notes: Mapping[str, Any]) -> str | None:
    """Return the name of the storage that has an upload, as ``Place.of`` does, but check nothing."""
    return (notes.get(KEY) or {}).get("storage")
