"""Stores chunks that arrive in any order and in several processes: as parts if they are large, else as objects."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import BinaryIO

from ...core.ranges import ChunkSpan
from ...core.upload import Upload
from ...errors import ClaimLost
from ...errors import Unavailable
from .buffer import StreamSlice
from .description import Descriptions
from .errors import Missing
from .errors import Taken
from .geometry import parts_of_chunk
from .keys import Keys
from .orphans import begin
from .store import ObjectStore

_KNOWN = 1024  # uploads whose multipart upload a process remembers
_TRIES = 3


class MultipartMarkers:
    """Agrees with other processes on the multipart upload that an upload's chunks go to.

    Its id is in a helper object, which only one of several processes can write.
    """

    def __init__(self, store: ObjectStore, keys: Keys, descriptions: Descriptions) -> None:
        self._store = store
        self._keys = keys
        self._descriptions = descriptions
        self._known: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, upload: Upload) -> str:
        """Return the id of the multipart upload. Raises ``Missing`` if there is none yet."""
        return self._store.read(self._key(upload)).decode()

    def get_or_begin(self, upload: Upload) -> str:
        """Return the id of the multipart upload. Begin one if there is none yet."""
        with self._lock:
            if upload.stored_as in self._known:
                return self._known[upload.stored_as]
        try:
            multipart = self.read(upload)
        except Missing:
            multipart = self._begin(upload)
        with self._lock:
            self._known[upload.stored_as] = multipart
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return multipart

    def _begin(self, upload: Upload) -> str:
        target = self._keys.target(upload)
        multipart = begin(self._store, self._keys, upload, self._descriptions.of(upload))
        try:
            self._store.put(self._key(upload), multipart.encode(), only_new=True)
        except Taken:
            self._store.abort(target, multipart)
            return self.read(upload)
        return multipart

    def forget(self, upload: Upload, multipart: str) -> None:
        """Forget a multipart upload that no longer exists, so that the next chunk begins a new one."""
        with self._lock:
            self._known.pop(upload.stored_as, None)
        try:
            if self.read(upload) == multipart:
                self._store.delete(self._key(upload))
        except Missing:
            pass

    def _key(self, upload: Upload) -> str:
        return self._keys.helper(upload.stored_as, "multipart")


class StoreSlot:
    """The place of a chunk; see :class:`~flask_resumable.interfaces.chunks.Slot`.

    Stores write parts and objects atomically, so requests with the same chunk do not have to wait for each other.
    """

    def __init__(self, store: ObjectStore, keys: Keys, markers: MultipartMarkers, upload: Upload, number: int) -> None:
        self._store = store
        self._keys = keys
        self._markers = markers
        self._upload = upload
        stored = upload.storage
        assert upload.length is not None
        self._chunk = ChunkSpan.of(number, stored["chunk_size"], stored["chunks"], upload.length)

    def fill(self, content: BinaryIO, /) -> None:
        if self._chunk.size <= 0:
            return
        if self._upload.storage.get("direct"):
            self._fill_part(content)
        else:
            key = self._keys.helper(self._upload.stored_as, f"chunk-{self._chunk.number}")
            self._store.put(key, StreamSlice(content, self._chunk.size))

    def _fill_part(self, content: BinaryIO) -> None:
        target = self._keys.target(self._upload)
        for _ in range(_TRIES):
            try:
                multipart = self._markers.get_or_begin(self._upload)
                for number, start, stop in parts_of_chunk(self._chunk):
                    body = StreamSlice(content, stop - start, start - self._chunk.start)
                    self._store.put_part(target, multipart, number, body)
                return
            except Missing:
                if self._store.size(target) is not None:
                    raise ClaimLost from None  # it has been published
                # The upload was removed, or the store has cleaned up. In the first case, this part becomes an orphan
                # and is removed as one. In the second, the other chunks are found missing at the end.
                self._markers.forget(self._upload, multipart)
        raise Unavailable
