"""Stores uploads in an object store.

A finished upload is the object ``<prefix><id>``. Until then, it is one multipart upload of that key, and helper objects
below ``<prefix>.partial/<id>/`` for content that is not in a part yet. The id alone is enough to find all of them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import nullcontext
from datetime import datetime
from datetime import timedelta
from pathlib import Path
from typing import Any
from typing import BinaryIO
from typing import cast

from ...core.disposition import content_disposition
from ...core.disposition import INLINE_TYPES
from ...core.ranges import chunk_spans
from ...core.upload import JSONObject
from ...core.upload import Status
from ...core.upload import Upload
from ...errors import ConfigurationError
from ...errors import TooLarge
from ...errors import Unavailable
from ...interfaces import IncomingChunk
from ...interfaces import StorageCapabilities
from ...interfaces import Writer
from ...interfaces.chunks import Slot
from ..file_io import file_errors
from ..spool import Spool
from .buffer import Memory
from .chunks import MultipartMarkers
from .chunks import StoreSlot
from .completion import Completion
from .composer import Composer
from .composer import EqualParts
from .description import Descriptions
from .errors import Missing
from .geometry import Geometry
from .geometry import MAX_OBJECT
from .geometry import MAX_PARTS
from .geometry import MIB
from .keys import fresh
from .keys import Keys
from .moved import MOVED
from .moved import MovedObjects
from .orphans import UnfinishedObjects
from .orphans import WHOLE
from .reading import stream_of
from .state import MultipartState
from .state import STAGED
from .store import ObjectStore
from .uploader import Uploader
from .verify import MultipartVerifier
from .writer import MultipartWriter
from .writer import too_many_parts


class MultipartStorage:
    """Stores uploads in an object store. Any number of processes and machines can share one store.

    Use a prefix with one database only. Only content that is being received is kept on the machine.

    :param store: The object store.
    :param prefix: The prefix of all keys, such as ``"uploads/"``.
    :param part_size: The size of the first parts of a multipart upload, in bytes, at least the store's minimum. Later
        parts are larger.
    :param memory: How many bytes of parts being sent a process keeps in memory. The rest goes to temporary files.
    :param spool_directory: The folder for these files. They have no names, so nothing is left of them after a crash.
    :param inline_types: Media types that browsers may display. Objects of all other types are downloaded, and types
        that can run scripts become ``application/octet-stream``.
    :raises ConfigurationError: An argument is wrong.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        prefix: str = "",
        part_size: int = 8 * MIB,
        memory: int = 64 * MIB,
        spool_directory: str | os.PathLike[str] | None = None,
        inline_types: Collection[str] = INLINE_TYPES,
    ) -> None:
        if not store.traits.min_part <= part_size <= 5 * 1024 * MIB:
            raise ConfigurationError(f"part_size must be from {store.traits.min_part} to {5 * 1024 * MIB} bytes.")
        if prefix.startswith("/"):
            raise ConfigurationError("prefix must not begin with '/'; use a prefix such as 'uploads/'.")
        self._keys = Keys(prefix)
        self._part_size = part_size
        self._memory = Memory(memory)
        self._directory = None if spool_directory is None else os.fspath(spool_directory)
        self._descriptions = Descriptions(inline_types)
        self._use(store)
        self.capabilities = StorageCapabilities(
            chunks=self,
            concatenation=self,
            moves=self,
            links=self if store.traits.signs_links else None,
            locations=self,
            verification=self,
            requests=self,
            parameters=self,
        )

    def _use(self, store: ObjectStore) -> None:
        self._store = store
        self._markers = MultipartMarkers(store, self._keys, self._descriptions)
        self._unfinished = UnfinishedObjects(store, self._keys)
        self._equal = EqualParts(store)
        self._moved = MovedObjects(store, self._keys, self._descriptions, self._uploading)

    def watch_requests(self, watch: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
        """See :class:`~flask_resumable.interfaces.SendsRequests`."""
        self._use(cast(ObjectStore, _WatchedStore(self._store, watch)))

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Check parameters of objects that the app has chosen; see :meth:`ObjectStore.check_parameters`."""
        self._store.check_parameters(parameters)

    # --- writing ---

    def writer(self, upload: Upload, start: int, fence: int) -> AbstractContextManager[Writer]:
        return self._writer(upload, start)

    @contextmanager
    def _writer(self, upload: Upload, start: int) -> Iterator[Writer]:
        if upload.length is not None and upload.length > MAX_OBJECT:
            raise TooLarge(f"The store accepts objects of at most {MAX_OBJECT} bytes.", MAX_OBJECT)
        # Until the store is known to accept parts of any size, parts do not grow: it would be too late at the end.
        fitting = Geometry.fitting(upload.length, self._part_size, grows=self._equal.are_wanted is False)
        state = MultipartState.read(upload.storage, fitting).cut(start, upload.length).taken_over()
        if upload.length is not None and upload.length > (limit := state.geometry.stop(MAX_PARTS)):
            raise too_many_parts(limit)
        with self._uploading(upload) as uploader:
            writer = MultipartWriter(uploader, upload, state, start)
            try:
                yield writer
            finally:
                writer.close()

    @contextmanager
    def _uploading(self, upload: Upload) -> Iterator[Uploader]:
        info = self._descriptions.of(upload)
        uploader = Uploader(self._store, self._keys, upload, self._memory, self._directory, info)
        try:
            yield uploader
        finally:
            uploader.stop()

    # --- chunks ---

    def layout(self, chunk_size: int, total_chunks: int) -> JSONObject:
        # Fewer than MAX_PARTS, because the last chunk may become two parts.
        # Only with ``puts_only_new`` do the requests that bring the first chunks agree on one multipart upload.
        traits = self._store.traits
        is_direct = traits.puts_only_new and chunk_size >= traits.min_part and total_chunks < MAX_PARTS
        return {"chunk_size": chunk_size, "chunks": total_chunks, **({"direct": True} if is_direct else {})}

    def spool(self) -> BinaryIO:
        with file_errors:
            return cast(BinaryIO, Spool(Path(self._directory or tempfile.gettempdir())))

    def placing(self, upload: Upload, number: int, start: int) -> AbstractContextManager[Slot]:
        return nullcontext(StoreSlot(self._store, self._keys, self._markers, upload, number))

    def receiving(self, upload: Upload, number: int, start: int, size: int) -> IncomingChunk | None:
        return None  # the store accepts only complete parts

    # --- finishing ---

    def finish(self, upload: Upload, fence: int) -> JSONObject:
        with self._uploading(upload) as uploader:
            completion = Completion(self._store, self._keys, uploader, upload, self._markers.read, self._equal)
            completion.publish(self._part_size)
        self._remove_unfinished(upload)
        return {"finished": True}

    def _remove_unfinished(self, upload: Upload) -> None:
        kept = (MOVED, WHOLE) if upload.is_partial else (MOVED,)
        self._unfinished.remove(upload.stored_as, self._keys.published(upload), keep=kept)

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> JSONObject:
        return self._moved.move(upload, target, overwrite=overwrite, part_size=self._part_size)

    def settle_moves(self, upload: Upload) -> None:
        self._moved.settle(upload)

    def concatenate(self, upload: Upload, parts: Sequence[Upload], fence: int) -> JSONObject:
        """Join the parts: within the store if it can copy them, otherwise through this process."""
        sources = [(self._keys.target(part), part.length or 0) for part in parts]
        total = sum(size for _, size in sources)
        if total == 0:
            return {}
        with self._uploading(upload) as uploader:
            try:
                if total > self._part_size:
                    composer = Composer(self._store, uploader, self._keys.target(upload))
                    equal = self._equal.are_wanted is True
                    multipart, tags = composer.compose(sources, self._part_size, equal=equal)
                    noted = [[part.stored_as, part.length or 0] for part in parts]
                    return {"joined": total, "multipart": multipart, "parts": tags, "sources": noted}
                buffer = uploader.buffer(total)
                try:
                    for key, size in sources:
                        uploader.load_range(key, 0, size, buffer)
                    name = fresh("tail", 1)
                    uploader.keep(name, buffer, 0)
                finally:
                    buffer.close()
            except Missing:
                raise Unavailable("A part of this upload is missing.") from None
        return MultipartState(geometry=Geometry(self._part_size), tails=((name, total),)).to_json()

    # --- reading ---

    def open(self, upload: Upload) -> BinaryIO:
        """Return a stream of the upload's bytes. Bytes that are in a multipart upload cannot be read.

        :raises Unavailable: The upload is unfinished, and some of its bytes are in a multipart upload.
        """
        if upload.storage.get("finished") or self._is_published(upload):
            return stream_of(self._store, [(self._keys.target(upload), upload.length or 0)])
        pieces = self._unfinished_pieces(upload)
        if upload.status is Status.FINISHING and pieces and self._store.head(pieces[0][0]) is None:
            raise Unavailable("This upload is being completed.")  # on_complete has moved it, as the record says soon
        return stream_of(self._store, pieces)

    def _is_published(self, upload: Upload) -> bool:
        """Whether the object exists, although the record does not say so. It does while ``on_complete`` runs."""
        return upload.status is Status.FINISHING and self._store.head(self._keys.published(upload)) is not None

    def _unfinished_pieces(self, upload: Upload) -> list[tuple[str, int]]:
        stored = upload.storage
        if "chunks" in stored and not stored.get("direct"):
            pieces = chunk_spans(stored["chunk_size"], stored["chunks"], upload.length or 0)
            found = [(f"chunk-{chunk.number}", chunk.size) for chunk in pieces if chunk.stop <= upload.offset]
        else:
            if stored.get("direct") or "joined" in stored:
                raise Unavailable("This upload can be read only once it is finished.")
            state = MultipartState.read(stored, Geometry(self._part_size))
            if not all(part.startswith(STAGED) for part in state.parts):
                raise Unavailable("This upload can be read only once it is finished.")
            bounds = [(state.geometry.start(n), state.geometry.stop(n)) for n in range(1, state.next_number)]
            staged = [(part.removeprefix(STAGED), b - a) for part, (a, b) in zip(state.parts, bounds, strict=True)]
            found = [*staged, *state.tails]
        return [(self._keys.helper(upload.stored_as, name), size) for name, size in found]

    def path(self, upload: Upload) -> Path | None:
        return None

    def location(self, upload: Upload) -> str:
        """Return where the object is or will be, such as ``s3://bucket/key``."""
        return self._store.location(self._keys.target(upload))

    def presigned_url(
        self, upload: Upload, *, expires: timedelta, filename: str, content_type: str, disposition: str
    ) -> str | None:
        """Return a URL that lets anybody download a finished upload for a while; ``None`` if it is unfinished."""
        if not upload.storage.get("finished"):
            return None
        return self._store.link(
            self._keys.target(upload),
            seconds=int(expires.total_seconds()),
            content_type=content_type,
            content_disposition=content_disposition(disposition, filename),
        )

    def verify(self, upload: Upload) -> list[str]:
        """Return a sentence for each problem with the upload's bytes. There are none if everything saved is there."""
        marker = None
        if upload.storage.get("direct"):
            try:
                marker = self._markers.read(upload)
            except Missing:
                pass
        return list(MultipartVerifier(self._store, self._keys, upload, marker).problems())

    # --- removing ---

    def delete(self, upload: Upload) -> None:
        self._moved.forget(upload)
        self._unfinished.remove(upload.stored_as, self._keys.published(upload))
        for key in {self._keys.target(upload), self._keys.published(upload)}:
            self._store.delete(key)

    def remove_orphans(self, upload: Upload) -> None:
        if upload.status in (Status.DELETING, Status.GONE):
            return self.delete(upload)  # a late request may have published it
        if upload.status is Status.COMPLETE and not upload.is_partial:
            self._moved.settle(upload)
        self._remove_unfinished(upload)

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        return self._unfinished.orphans(older_than)


class _WatchedStore:
    """Has everything that a store has, with the methods that send a request wrapped."""

    def __init__(self, store: ObjectStore, watch: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
        self._store = store
        for name in _REQUESTS:
            setattr(self, name, watch(name, getattr(store, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


# Not those that list, which send requests while the caller works on what they have returned.
_REQUESTS = (
    "abort",
    "begin",
    "complete",
    "copy",
    "copy_part",
    "delete",
    "get",
    "get_into",
    "head",
    "parts",
    "put",
    "put_part",
    "read",
    "size",
)
