"""Removes what belongs to an upload, and finds what belongs to none. Other objects in the store are never touched."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import groupby

from ...core.placement import Place
from ...core.upload import Upload
from .errors import Missing
from .keys import Keys
from .store import ObjectInfo
from .store import ObjectStore

WHOLE = "whole"  # the helper that is a complete partial upload
FOLDER = "folder"  # the helper that says in which folder the upload is published

Multipart = tuple[str, str, datetime]  # key, id and start time


def begin(store: ObjectStore, keys: Keys, upload: Upload, info: ObjectInfo | None) -> str:
    """Start a multipart upload that can be found by the name of the upload's bytes, and return its own id."""
    folder = Place.of(upload.storage).folder
    if not upload.is_partial and keys.owner_of_target(keys.published(upload)) is None:
        store.put(keys.helper(upload.stored_as, FOLDER), folder.encode())
    return store.begin(keys.target(upload), info)


class UnfinishedObjects:
    """The helpers and multipart uploads below one prefix. They can be found by the name of its bytes."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def remove(self, stored_as: str, target: str, *, keep: Collection[str] = ()) -> int:
        """Remove everything but the finished object and the helpers in ``keep``. Return how many bytes were freed."""
        freed = sum(self._abort(key, multipart) for key, multipart in self._multiparts_of(target))
        for key, size, _ in self._store.objects(self._keys.helpers(stored_as)):
            is_kept = key.removeprefix(self._keys.helpers(stored_as)) in keep
            if self._keys.owner_of_helper(key) == stored_as and not is_kept:
                self._store.delete(key)
                freed += size
        return freed

    def _multiparts_of(self, target: str) -> list[tuple[str, str]]:
        return [(key, multipart) for key, multipart, _ in self._store.multiparts(target) if key == target]

    def _abort(self, key: str, multipart: str) -> int:
        try:
            size = sum(part.size for part in self._store.parts(key, multipart).values())
        except Missing:
            return 0  # it was just completed, so it must not be touched
        self._store.abort(key, multipart)
        return size

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        """Return the names whose helpers and multipart uploads were all last changed before ``older_than``."""
        multiparts: dict[str, list[Multipart]] = {}
        for multipart in self._store.multiparts(self._keys.prefix):
            stored_as = self._keys.owner_of_target(multipart[0])
            if stored_as is not None:
                multiparts.setdefault(stored_as, []).append(multipart)
        helpers = groupby(self._store.objects(self._keys.partial), lambda entry: self._keys.owner_of_helper(entry[0]))
        for stored_as, entries in helpers:
            if stored_as is not None:
                objects = list(entries)
                found = multiparts.pop(stored_as, []) + self._in_folder(stored_as, [key for key, _, _ in objects])
                touched = max(modified for _, _, modified in objects)
                if touched < older_than and self._are_older(found, older_than):
                    yield stored_as, partial(self._remove_orphan, stored_as, found)
        for stored_as, found in multiparts.items():
            if self._are_older(found, older_than):
                yield stored_as, partial(self._remove_orphan, stored_as, found)

    def _in_folder(self, stored_as: str, helpers: list[str]) -> list[Multipart]:
        note = self._keys.helper(stored_as, FOLDER)
        if note not in helpers:
            return []
        try:
            target = self._keys.target_in(Place(folder=self._store.read(note).decode()).folder, stored_as)
        except (Missing, ValueError):
            return []
        return [multipart for multipart in self._store.multiparts(target) if multipart[0] == target]

    def _are_older(self, multiparts: list[Multipart], older_than: datetime) -> bool:
        for key, multipart, begun in multiparts:
            try:
                parts = self._store.parts(key, multipart)
            except Missing:
                continue
            if max([begun, *(part.modified for part in parts.values())]) >= older_than:
                return False
        return True

    def _remove_orphan(self, stored_as: str, multiparts: list[Multipart]) -> int:
        freed = sum(self._abort(key, multipart) for key, multipart, _ in multiparts)
        for key, size, _ in self._store.objects(self._keys.helpers(stored_as)):
            if self._keys.owner_of_helper(key) == stored_as:
                self._store.delete(key)
                freed += size
        return freed
