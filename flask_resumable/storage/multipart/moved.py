"""Moves finished objects to where the app wants them in the store.

An object is copied before the record has its new key, and the original is removed after that. Before the copy, a helper
named ``moved`` says which keys there may be. The copy has the upload's id in its metadata, so that no other object is
mistaken for it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from ...core.upload import JSONObject
from ...core.upload import Upload
from ...errors import Unavailable
from .composer import Composer
from .composer import pieces_of
from .description import Descriptions
from .errors import Missing
from .errors import PartsChanged
from .keys import Keys
from .store import ObjectInfo
from .store import ObjectStore
from .uploader import Uploader

MOVED = "moved"  # the helper that says where the object may be
_OWNER = "resumable-upload"  # the metadata that identifies a copy

Noted = dict[str, str | None]  # keys, and the multipart upload of each copy, if there is one


class MovedObjects:
    """Moves objects within one store.

    :param uploading: Opens an uploader for an upload.
    """

    def __init__(
        self,
        store: ObjectStore,
        keys: Keys,
        descriptions: Descriptions,
        uploading: Callable[[Upload], AbstractContextManager[Uploader]],
    ) -> None:
        self._store = store
        self._descriptions = descriptions
        self._keys = keys
        self._uploading = uploading

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool, part_size: int) -> JSONObject:
        """See :class:`~flask_resumable.interfaces.capabilities.Moves`."""
        key, source = self._keys.chosen(target), self._keys.published(upload)
        if key == source:
            return {"finished": True}
        there = self._store.head(key)
        if there is not None and there.metadata.get(_OWNER) != upload.stored_as and not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._store.location(key))
        found = self._store.head(source)
        if found is None:
            raise Unavailable from FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
        try:
            self._copy(upload, source, key, found, part_size)
        except (Missing, PartsChanged) as error:
            raise Unavailable from error
        return {"finished": True, "moved_to": key}

    def _copy(self, upload: Upload, source: str, key: str, found: ObjectInfo, part_size: int) -> None:
        described = self._descriptions.of(upload) or ObjectInfo()
        metadata = {**found.metadata, _OWNER: upload.stored_as}
        kept = ObjectInfo(found.size, metadata, found.properties, parameters=described.parameters)
        if found.size <= self._store.traits.max_copy:
            self._note(upload, key, None)
            return self._store.copy(key, source, kept)
        multipart = self._store.begin(key, kept)
        try:
            self._note(upload, key, multipart)
        except BaseException:
            self._store.abort(key, multipart)
            raise
        pieces = enumerate(pieces_of([found.size], part_size, self._store.traits), 1)
        with self._uploading(upload) as uploader:
            tags = Composer(self._store, uploader, key).place_all(
                multipart, {number: [(source, span.start, span.stop) for span in piece] for number, piece in pieces}
            )
        self._store.complete(key, multipart, [tags[number] for number in sorted(tags)], kept)

    def _note(self, upload: Upload, key: str, multipart: str | None) -> None:
        noted = self._noted(upload)
        if former := noted.get(key):
            self._store.abort(key, former)  # it belongs to a process that has died
        self._store.put(self._name(upload), json.dumps({**noted, key: multipart}).encode())

    def _noted(self, upload: Upload) -> Noted:
        try:
            noted: Noted = json.loads(self._store.read(self._name(upload)))
        except (Missing, ValueError):
            return {}
        return noted

    def _name(self, upload: Upload) -> str:
        return self._keys.helper(upload.stored_as, MOVED)

    def settle(self, upload: Upload) -> None:
        """See :class:`~flask_resumable.interfaces.capabilities.Moves`."""
        kept, published = self._keys.target(upload), self._keys.published(upload)
        noted = self._noted(upload)
        if noted and self._store.size(kept) is not None:
            self._remove(upload, {key: multipart for key, multipart in noted.items() if key != kept})
            if published != kept:
                self._store.delete(published)
            self._store.delete(self._name(upload))

    def forget(self, upload: Upload) -> None:
        """Remove the object from every place where it may be."""
        self._remove(upload, self._noted(upload))

    def _remove(self, upload: Upload, noted: Noted) -> None:
        for key, multipart in noted.items():
            if multipart is not None:
                self._store.abort(key, multipart)
            there = self._store.head(key)
            if there is not None and there.metadata.get(_OWNER) == upload.stored_as:
                self._store.delete(key)
