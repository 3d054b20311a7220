"""Finished objects that the app wants elsewhere in the bucket.

An object is copied before the record tells of its new key, and its first one is removed when the record does. A helper,
``moved``, says first which keys there may be. A copy carries the upload's id, so that nothing else is taken for it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextlib import suppress
from typing import Any

from ...core.upload import JSONObject
from ...core.upload import Upload
from ...errors import Unavailable
from ..s3.errors import Missing
from ..s3.errors import PartsChanged
from ..s3.store import Bucket
from .composer import Joiner
from .geometry import join
from .keys import Keys
from .uploader import Sender

MOVED = "moved"  # the helper that tells where the object may have been moved to
_OWNER = "resumable-upload"  # the metadata by which a copy is known
_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")

Noted = dict[str, str | None]  # keys, and the multipart upload of each, if it needs one


class MovedObjects:
    """Moves objects of one bucket.

    :param sending: Opens what sends parts of an upload.
    :param at_once: The most bytes that the store copies as a whole.
    """

    def __init__(
        self, bucket: Bucket, keys: Keys, sending: Callable[[Upload], AbstractContextManager[Sender]], at_once: int
    ) -> None:
        self._bucket = bucket
        self._keys = keys
        self._sending = sending
        self._at_once = at_once

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool, part_size: int) -> JSONObject:
        """See :class:`~flask_resumable.interfaces.capabilities.Moves`."""
        key, source = self._keys.chosen(target), self._keys.published(upload)
        if key == source:
            return {"finished": True}
        there = self._bucket.head(key)
        if there is not None and there["Metadata"].get(_OWNER) != upload.id and not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), f"s3://{self._bucket.name}/{key}")
        found = self._bucket.head(source)
        if found is None:
            raise Unavailable from FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
        try:
            self._copy(upload, source, key, found, part_size)
        except (Missing, PartsChanged) as error:
            raise Unavailable from error
        return {"finished": True, "moved_to": key}

    def _copy(self, upload: Upload, source: str, key: str, found: dict[str, Any], part_size: int) -> None:
        kept = {name: found[name] for name in _KEPT if name in found}
        kept["Metadata"] = {**found["Metadata"], _OWNER: upload.id}
        size = found["ContentLength"]
        if size <= self._at_once:
            self._note(upload, key, None)
            return self._bucket.copy(key, source, **kept)
        multipart = self._bucket.begin(key, **kept)
        try:
            self._note(upload, key, multipart)
        except BaseException:
            self._bucket.abort(key, multipart)
            raise
        pieces = enumerate(join([size], part_size), 1)
        with self._sending(upload) as sender:
            etags = Joiner(self._bucket, sender, key).place_all(
                multipart, {number: [(source, span.start, span.stop) for span in piece] for number, piece in pieces}
            )
        self._bucket.complete(key, multipart, [etags[number] for number in sorted(etags)])

    def _note(self, upload: Upload, key: str, multipart: str | None) -> None:
        noted = self._noted(upload)
        if former := noted.get(key):
            self._bucket.abort(key, former)  # of a process that has died
        self._bucket.put(self._name(upload), json.dumps({**noted, key: multipart}).encode())

    def _noted(self, upload: Upload) -> Noted:
        try:
            noted: Noted = json.loads(self._bucket.read(self._name(upload)))
        except (Missing, ValueError):
            return {}
        return noted

    def _name(self, upload: Upload) -> str:
        return self._keys.helper(upload.id, MOVED)

    def settle(self, upload: Upload) -> None:
        """See :class:`~flask_resumable.interfaces.capabilities.Moves`."""
        kept, published = self._keys.target(upload), self._keys.published(upload)
        noted = self._noted(upload)
        if noted and self._bucket.size(kept) is not None:
            self._remove(upload, {key: multipart for key, multipart in noted.items() if key != kept})
            if published != kept:
                self._bucket.delete(published)
            self._bucket.delete(self._name(upload))

    def forget(self, upload: Upload) -> None:
        """Remove the object from wherever it may have been moved to."""
        self._remove(upload, self._noted(upload))

    def _remove(self, upload: Upload, noted: Noted) -> None:
        for key, multipart in noted.items():
            if multipart is not None:
                with suppress(Missing):
                    self._bucket.abort(key, multipart)
            there = self._bucket.head(key)
            if there is not None and there["Metadata"].get(_OWNER) == upload.id:
                self._bucket.delete(key)
