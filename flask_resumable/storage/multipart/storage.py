"""Bytes in a bucket.

A finished upload is the object ``<prefix><id>``. On the way there it is one multipart upload of that key, and helper
objects below ``<prefix>.partial/<id>/`` for what is no part yet. What belongs to an upload is found by its id alone.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
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
from urllib.parse import quote

from ...core.ranges import chunk_spans
from ...core.upload import JSONObject
from ...core.upload import Status
from ...core.upload import Upload
from ...errors import ConfigurationError
from ...errors import TooLarge
from ...errors import Unavailable
from ...interfaces import Writer
from ...interfaces.capabilities import Slot
from ..file_io import translated
from ..s3.check import check
from ..s3.errors import Missing
from ..s3.store import Bucket
from ..spool import Spool
from .buffer import Memory
from .chunks import MultipartMarkers
from .chunks import S3Slot
from .completion import Publisher
from .composer import EqualParts
from .composer import Joiner
from .geometry import Geometry
from .geometry import MAX_OBJECT
from .geometry import MAX_PARTS
from .geometry import MIB
from .geometry import MIN_PART
from .keys import fresh
from .keys import Keys
from .moved import MOVED
from .moved import MovedObjects
from .orphans import Leftovers
from .orphans import WHOLE
from .reading import stream_of
from .state import Notes
from .state import STAGED
from .uploader import Sender
from .verify import Verifier
from .writer import S3Writer
from .writer import too_many_parts


class S3Storage:
    """Objects in a bucket of any store that speaks S3. Any number of processes and machines may use one bucket.

    One prefix belongs to one database. Nothing is kept on the machine but what is just being received.

    :param bucket: The bucket, which must be there.
    :param prefix: What all keys begin with, such as ``"uploads/"``.
    :param endpoint_url: Where the store is, unless it is Amazon's.
    :param access_key: With ``secret_key``; without them, what boto3 finds by itself.
    :param part_size: The size of parts in bytes, at least 5 MiB; very large uploads have larger ones.
    :param memory: How many bytes of parts on their way a process may have in memory; more of them go to files.
    :param spool_directory: Where those files are made; they have no names and leave no trace.
    :param equal_parts: Whether the store wants all parts but a smaller last one to have one size, as R2 does; ``None``:
        it is found out.
    :param client: A client of boto3's, instead of one with the settings above. It is shared by all threads.
    :raises ConfigurationError: An argument is wrong. Nothing is asked of the store yet; see :meth:`check_access`.
    """

    min_part_size = MIN_PART  # what the store asks for
    max_copy = 5 * 1024 * MIB  # bytes that it copies as a whole

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        part_size: int = 8 * MIB,
        memory: int = 64 * MIB,
        spool_directory: str | os.PathLike[str] | None = None,
        equal_parts: bool | None = None,
        client: Any = None,
    ) -> None:
        if not bucket:
            raise ConfigurationError("S3Storage needs the name of a bucket.")
        if not self.min_part_size <= part_size <= 5 * 1024 * MIB:
            raise ConfigurationError(f"part_size must be from {self.min_part_size} to {5 * 1024 * MIB} bytes.")
        if (access_key is None) != (secret_key is None):
            raise ConfigurationError("S3Storage takes access_key and secret_key together, or neither.")
        if prefix.startswith("/"):
            raise ConfigurationError("prefix must not begin with '/'; it looks like 'uploads/'.")
        self._bucket = Bucket(
            bucket,
            endpoint_url=endpoint_url,
            region=region,
            access_key=access_key,
            secret_key=secret_key,
            client=client,
        )
        self._keys = Keys(prefix)
        self._part_size = part_size
        self._memory = Memory(memory)
        self._directory = None if spool_directory is None else os.fspath(spool_directory)
        self._markers = MultipartMarkers(self._bucket, self._keys)
        self._leftovers = Leftovers(self._bucket, self._keys)
        self._equal = EqualParts(self._bucket, equal_parts)
        self._moved = MovedObjects(self._bucket, self._keys, self._sending, self.max_copy)

    # --- writing ---

    def writer(self, upload: Upload, start: int, fence: int) -> AbstractContextManager[Writer]:
        return self._writer(upload, start)

    @contextmanager
    def _writer(self, upload: Upload, start: int) -> Iterator[Writer]:
        if upload.length is not None and upload.length > MAX_OBJECT:
            raise TooLarge(f"The store takes no more than {MAX_OBJECT} bytes in one object.", MAX_OBJECT)
        # While it is not known what the store takes, parts do not grow: nothing could be done about it at the end.
        fitting = Geometry.fitting(upload.length, self._part_size, grows=self._equal.are_wanted is False)
        notes = Notes.read(upload.storage, fitting).cut(start, upload.length).taken_over()
        if upload.length is not None and upload.length > (limit := notes.geometry.stop(MAX_PARTS)):
            raise too_many_parts(limit)
        with self._sending(upload) as sender:
            writer = S3Writer(sender, upload, notes, start)
            try:
                yield writer
            finally:
                writer.close()

    @contextmanager
    def _sending(self, upload: Upload) -> Iterator[Sender]:
        sender = Sender(self._bucket, self._keys, upload, self._memory, self._directory)
        try:
            yield sender
        finally:
            sender.stop()

    # --- chunks ---

    def layout(self, chunk_size: int, total_chunks: int) -> JSONObject:
        is_direct = chunk_size >= self.min_part_size and total_chunks < MAX_PARTS  # the last one may make two parts
        return {"chunk_size": chunk_size, "chunks": total_chunks, **({"direct": True} if is_direct else {})}

    def spool(self) -> BinaryIO:
        with translated():
            return cast(BinaryIO, Spool(Path(self._directory or tempfile.gettempdir())))

    def placing(self, upload: Upload, number: int, start: int) -> AbstractContextManager[Slot]:
        return nullcontext(S3Slot(self._bucket, self._keys, self._markers, upload, number))

    # --- finishing ---

    def finish(self, upload: Upload, fence: int) -> JSONObject:
        with self._sending(upload) as sender:
            publisher = Publisher(self._bucket, self._keys, sender, upload, self._markers.read, self._equal)
            publisher.publish(self._part_size, self.min_part_size)
        self._remove_unfinished(upload)
        return {"finished": True}

    def _remove_unfinished(self, upload: Upload) -> None:
        kept = (MOVED, WHOLE) if upload.is_partial else (MOVED,)
        self._leftovers.remove(upload.id, self._keys.published(upload), keep=kept)

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> JSONObject:
        return self._moved.move(upload, target, overwrite=overwrite, part_size=self._part_size)

    def settle_moves(self, upload: Upload) -> None:
        self._moved.settle(upload)

    def concatenate(self, upload: Upload, parts: Sequence[Upload], fence: int) -> JSONObject:
        """Put the parts together within the store, if all but the last are large enough; else through this process."""
        sources = [(self._keys.target(part), part.length or 0) for part in parts]
        total = sum(size for _, size in sources)
        if total == 0:
            return {}
        with self._sending(upload) as sender:
            try:
                if total > self._part_size:
                    joiner = Joiner(self._bucket, sender, self._keys.target(upload))
                    equal = self._equal.are_wanted is True
                    multipart, etags = joiner.join(sources, self._part_size, self.min_part_size, equal=equal)
                    noted = [[part.id, part.length or 0] for part in parts]
                    return {"joined": total, "multipart": multipart, "parts": etags, "sources": noted}
                buffer = sender.buffer(total)
                try:
                    for key, size in sources:
                        sender.load_range(key, 0, size, buffer)
                    name = fresh("tail", 1)
                    sender.keep(name, buffer, 0)
                finally:
                    buffer.close()
            except Missing:
                raise Unavailable("A part of this upload is not there.") from None
        return Notes(geometry=Geometry(self._part_size), tails=((name, total),)).to_json()

    # --- reading ---

    def open(self, upload: Upload) -> BinaryIO:
        """The upload's bytes. Of an unfinished one, the store gives out only what is no part of its object yet.

        :raises Unavailable: They cannot be read before the upload is finished.
        """
        if upload.storage.get("finished"):
            return stream_of(self._bucket, [(self._keys.target(upload), upload.length or 0)])
        return stream_of(self._bucket, self._unfinished(upload))

    def _unfinished(self, upload: Upload) -> list[tuple[str, int]]:
        stored = upload.storage
        if "chunks" in stored and not stored.get("direct"):
            pieces = chunk_spans(stored["chunk_size"], stored["chunks"], upload.length or 0)
            found = [(f"chunk-{chunk.number}", chunk.size) for chunk in pieces if chunk.stop <= upload.offset]
        else:
            if stored.get("direct") or "joined" in stored:
                raise Unavailable("The store gives out the bytes of this upload once it is finished.")
            notes = Notes.read(stored, Geometry(self._part_size))
            if not all(part.startswith(STAGED) for part in notes.parts):
                raise Unavailable("The store gives out the bytes of this upload once it is finished.")
            bounds = [(notes.geometry.start(n), notes.geometry.stop(n)) for n in range(1, notes.next_number)]
            staged = [(part.removeprefix(STAGED), b - a) for part, (a, b) in zip(notes.parts, bounds, strict=True)]
            found = [*staged, *notes.tails]
        return [(self._keys.helper(upload.id, name), size) for name, size in found]

    def path(self, upload: Upload) -> Path | None:
        return None

    def location(self, upload: Upload) -> str:
        """Where the object is, or will be, as people write it."""
        return f"s3://{self._bucket.name}/{self._keys.target(upload)}"

    def presigned_url(
        self, upload: Upload, *, expires: timedelta, filename: str, content_type: str, disposition: str
    ) -> str | None:
        """A URL by which anybody can fetch a finished upload until it has expired; ``None`` for an unfinished one."""
        if not upload.storage.get("finished"):
            return None
        return self._bucket.link(
            self._keys.target(upload),
            int(expires.total_seconds()),
            method="get_object",
            ResponseContentType=content_type,
            ResponseContentDisposition=_content_disposition(disposition, filename),
        )

    def verify(self, upload: Upload) -> list[str]:
        """What is wrong with the upload's bytes, in plain words; nothing if all that was saved is there."""
        marker = None
        if upload.storage.get("direct"):
            try:
                marker = self._markers.read(upload)
            except Missing:
                pass
        return list(Verifier(self._bucket, self._keys, upload, marker).problems())

    # --- removing ---

    def delete(self, upload: Upload) -> None:
        self._moved.forget(upload)
        self._leftovers.remove(upload.id, self._keys.published(upload))
        for key in {self._keys.target(upload), self._keys.published(upload)}:
            self._bucket.delete(key)

    def discard_stray(self, upload: Upload) -> None:
        if upload.status in (Status.DELETING, Status.GONE):
            return self.delete(upload)  # nobody wants it, and it may have been published late
        if upload.status is Status.COMPLETE and not upload.is_partial:
            self._moved.settle(upload)
        self._remove_unfinished(upload)

    def orphans(self, older_than: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        return self._leftovers.orphans(older_than)

    # --- trying ---

    def check_access(self) -> None:
        """Try whether the bucket can be used.

        :raises ConfigurationError: It cannot; the message says what to do.
        :raises Unavailable: The store does not answer, which may pass by itself.
        """
        check(self._bucket, self._keys.prefix)


def _content_disposition(kind: str, filename: str) -> str:
    """The header by which a browser knows the name. Spec: RFC 6266."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in filename)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
