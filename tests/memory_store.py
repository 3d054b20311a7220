"""An object store in this process's memory: with the rules of S3, or with those of a store that can do less."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import UTC

from flask_resumable.errors import StorageRefuses
from flask_resumable.storage.multipart import ListedMultipart
from flask_resumable.storage.multipart import ListedObject
from flask_resumable.storage.multipart import Missing
from flask_resumable.storage.multipart import ObjectInfo
from flask_resumable.storage.multipart import ObjectStore
from flask_resumable.storage.multipart import Part
from flask_resumable.storage.multipart import PartsChanged
from flask_resumable.storage.multipart import PartsRefused
from flask_resumable.storage.multipart import SizedStream
from flask_resumable.storage.multipart import StoreTraits
from flask_resumable.storage.multipart import Taken


@dataclass
class _Object:
    content: bytes
    info: ObjectInfo
    modified: datetime


@dataclass
class _Block:
    """One part, or in a store without ids one of several that were sent under its number."""

    number: int
    content: bytes
    modified: datetime


@dataclass
class _Multipart:
    info: ObjectInfo
    begun: datetime
    blocks: dict[str, _Block] = field(default_factory=dict)  # by tag


class MemoryStore(ObjectStore):
    """Dictionaries. What a store with these traits would refuse is refused.

    :param wants_equal: Whether all parts but a smaller last one must have one size.
    :param says: What it says about that; ``None``: nothing.
    """

    def __init__(
        self, traits: StoreTraits | None = None, *, wants_equal: bool = False, says: bool | None = None
    ) -> None:
        self.traits = traits or StoreTraits()
        self.refused = 0  # completions
        self.sent: list[int] = []  # sizes of the parts that came through this process
        self._wants_equal = wants_equal
        self._says = says
        self._objects: dict[str, _Object] = {}
        self._multiparts: dict[tuple[str, str], _Multipart] = {}
        self._lock = threading.RLock()

    @property
    def equal_parts(self) -> bool | None:
        return self._says

    def location(self, key: str) -> str:
        return f"memory:{key}"

    # --- objects ---

    def put(
        self, key: str, body: bytes | SizedStream, *, only_new: bool = False, info: ObjectInfo | None = None
    ) -> None:
        assert self.traits.puts_only_new or not only_new
        content = _bytes_of(body)
        with self._lock:
            if only_new and key in self._objects:
                raise Taken
            self._write(key, content, info or ObjectInfo())

    def _write(self, key: str, content: bytes, info: ObjectInfo) -> None:
        said = {"type": info.content_type, "disposition": info.content_disposition, **info.parameters}
        properties = {**{name: str(value) for name, value in said.items() if value is not None}, **info.properties}
        known = ObjectInfo(len(content), dict(info.metadata), properties)
        self._objects[key] = _Object(content, known, datetime.now(UTC))

    def get(self, key: str, start: int, stop: int) -> bytes:
        content = self.read(key)[start:stop]
        if len(content) < stop - start:
            raise Missing
        return content

    def read(self, key: str) -> bytes:
        with self._lock:
            if key not in self._objects:
                raise Missing
            return self._objects[key].content

    def head(self, key: str) -> ObjectInfo | None:
        with self._lock:
            return self._objects[key].info if key in self._objects else None

    def copy(self, key: str, source: str, info: ObjectInfo) -> None:
        with self._lock:
            content = self.read(source)
            if len(content) > self.traits.max_copy:
                raise StorageRefuses
            self._write(key, content, info)

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(key, None)

    def objects(self, prefix: str) -> Iterator[ListedObject]:
        with self._lock:
            found = sorted((key, entry) for key, entry in self._objects.items() if key.startswith(prefix))
        for key, entry in found:
            yield ListedObject(key, len(entry.content), entry.modified)

    def link(self, key: str, *, seconds: int, content_type: str, content_disposition: str) -> str:
        assert self.traits.signs_links
        return f"memory://{key}?seconds={seconds}"

    # --- multipart uploads ---

    def begin(self, key: str, info: ObjectInfo | None = None) -> str:
        multipart_id = secrets.token_hex(8)
        with self._lock:
            if self.traits.has_upload_ids:
                self._multiparts[key, multipart_id] = _Multipart(info or ObjectInfo(), datetime.now(UTC))
        return multipart_id

    def _opened(self, key: str, multipart_id: str) -> _Multipart:
        """A multipart upload. A store without ids knows nothing but parts, which may come at any time."""
        found = self._multiparts.get((key, multipart_id))
        if found is None and self.traits.has_upload_ids:
            raise Missing
        return found or _Multipart(ObjectInfo(), datetime.now(UTC))

    def put_part(self, key: str, multipart_id: str, number: int, body: bytes | SizedStream) -> str:
        content = _bytes_of(body)
        self.sent.append(len(content))
        return self._put_block(key, multipart_id, number, content)

    def _put_block(self, key: str, multipart_id: str, number: int, content: bytes) -> str:
        with self._lock:
            blocks = self._multiparts.setdefault((key, multipart_id), self._opened(key, multipart_id)).blocks
            if self.traits.has_upload_ids:
                for tag in [tag for tag, block in blocks.items() if block.number == number]:
                    del blocks[tag]
            tag = f"{number}-{secrets.token_hex(8)}"
            blocks[tag] = _Block(number, content, datetime.now(UTC))
            return tag

    def copy_part(self, key: str, multipart_id: str, number: int, source: str, start: int, stop: int) -> str:
        assert self.traits.copies_parts and stop - start >= self.traits.min_part_copy
        return self._put_block(key, multipart_id, number, self.get(source, start, stop))

    def parts(self, key: str, multipart_id: str) -> dict[int, Part]:
        with self._lock:
            blocks = self._opened(key, multipart_id).blocks
            return {block.number: Part(tag, len(block.content), block.modified) for tag, block in blocks.items()}

    def complete(self, key: str, multipart_id: str, tags: Sequence[str], info: ObjectInfo | None = None) -> None:
        with self._lock:
            found = self._opened(key, multipart_id)
            if any(tag not in found.blocks or found.blocks[tag].number != n for n, tag in enumerate(tags, 1)):
                raise PartsChanged
            blocks = [found.blocks[tag].content for tag in tags]
            sizes = [len(block) for block in blocks]
            is_equal = all(size == sizes[0] for size in sizes[:-1]) and sizes[-1] <= sizes[0]
            if any(size < self.traits.min_part for size in sizes[:-1]) or (self._wants_equal and not is_equal):
                self.refused += 1
                raise PartsRefused
            said = found.info if self.traits.has_upload_ids else info or ObjectInfo()
            self._write(key, b"".join(blocks), said)
            self.abort(key, multipart_id)

    def abort(self, key: str, multipart_id: str) -> None:
        with self._lock:
            found = self._multiparts.pop((key, multipart_id), None)
            if found is not None and not self.traits.has_upload_ids:
                for other in [other for other in self._multiparts if other[0] == key]:
                    del self._multiparts[other]

    def multiparts(self, prefix: str) -> Iterator[ListedMultipart]:
        with self._lock:
            found = sorted((key, multipart_id, entry.begun) for (key, multipart_id), entry in self._multiparts.items())
        for key, multipart_id, begun in found:
            if key.startswith(prefix):
                yield ListedMultipart(key, multipart_id, begun)

    # --- for tests ---

    def kept(self) -> set[str]:
        """The names of all objects and all multipart uploads."""
        with self._lock:
            return set(self._objects) | {f"{key}?{multipart_id}" for key, multipart_id in self._multiparts}


def _bytes_of(body: bytes | SizedStream) -> bytes:
    if isinstance(body, bytes):
        return body
    pieces = []
    while piece := body.read(1000):
        pieces.append(bytes(piece))
    content = b"".join(pieces)
    assert len(content) == len(body)
    return content
