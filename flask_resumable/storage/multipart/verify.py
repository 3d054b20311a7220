"""Compares what the store has with what a record says."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.ranges import chunk_spans
from ...core.upload import Upload
from ...errors import BytesLost
from .errors import Missing
from .geometry import Geometry
from .geometry import parts_of_chunk
from .keys import Keys
from .state import MultipartState
from .state import STAGED
from .store import ObjectStore
from .store import Part


class MultipartVerifier:
    """Checks the objects and parts of one upload, without reading their contents."""

    def __init__(self, store: ObjectStore, keys: Keys, upload: Upload, marker: str | None) -> None:
        self._store = store
        self._keys = keys
        self._upload = upload
        self._target = keys.target(upload)
        self._marker = marker

    def problems(self) -> Iterator[str]:
        """Yield a sentence for each problem."""
        stored = self._upload.storage
        if stored.get("finished"):
            yield from self._finished()
        elif not self._upload.received.total or self._store.size(self._target) == self._upload.length:
            return  # there is nothing yet, or the object was published and the record does not say so yet
        elif "chunks" in stored:
            yield from self._chunks()
        elif "joined" in stored:
            yield from self._parts(stored["multipart"], stored["parts"], None)
        else:
            yield from self._in_order()

    def _finished(self) -> Iterator[str]:
        size = self._store.size(self._target)
        if size is None:
            yield f"The object {self._target} is missing."
        elif size != self._upload.length:
            yield f"The object {self._target} has {size} bytes, not {self._upload.length}."

    def _in_order(self) -> Iterator[str]:
        state = MultipartState.read(self._upload.storage, Geometry(1))
        try:
            state = state.cut(self._upload.offset, self._upload.length)
        except BytesLost as error:
            yield f"The record lists parts for {error.offset} bytes, but says that {self._upload.offset} were received."
        yield from self._parts(state.multipart, state.parts, state.geometry)
        there = {key: size for key, size, _ in self._store.objects(self._keys.helpers(self._upload.stored_as))}
        staged = [
            (part.removeprefix(STAGED), state.geometry.stop(number, self._upload.length) - state.geometry.start(number))
            for number, part in enumerate(state.parts, 1)
            if part.startswith(STAGED)
        ]
        for name, size in (*staged, *state.tails):
            yield from self._helper(there, name, size)

    def _parts(
        self, multipart: str | None, parts: tuple[str, ...] | list[str], geometry: Geometry | None
    ) -> Iterator[str]:
        direct = {number: part for number, part in enumerate(parts, 1) if not part.startswith(STAGED)}
        if not direct:
            return
        there = self._there(multipart)
        if there is None:
            yield f"The multipart upload of {self._target} is gone, and {len(direct)} parts with it."
            return
        for number, tag in direct.items():
            if number not in there:
                yield f"Part {number} of {self._target} is missing."
            elif there[number].tag != tag:
                yield f"Part {number} of {self._target} is not the one that was stored."
            elif geometry and there[number].size != geometry.stop(number, self._upload.length) - geometry.start(number):
                yield f"Part {number} of {self._target} has {there[number].size} bytes, which is not the right size."

    def _there(self, multipart: str | None) -> dict[int, Part] | None:
        try:
            return self._store.parts(self._target, multipart) if multipart else None
        except Missing:
            return None

    def _chunks(self) -> Iterator[str]:
        stored, length = self._upload.storage, self._upload.length or 0
        parts = self._there(self._marker) or {} if stored.get("direct") else {}
        there = {key: size for key, size, _ in self._store.objects(self._keys.helpers(self._upload.stored_as))}
        for chunk in chunk_spans(stored["chunk_size"], stored["chunks"], length):
            if not self._upload.received.has(chunk):
                continue
            if not stored.get("direct"):
                yield from self._helper(there, f"chunk-{chunk.number}", chunk.size)
                continue
            for part, first, last in parts_of_chunk(chunk):
                yield from self._chunk_part(parts.get(part), part, last - first)

    def _chunk_part(self, found: Part | None, number: int, size: int) -> Iterator[str]:
        if found is None:
            yield f"Part {number} of {self._target}, a chunk, is missing."
        elif found.size != size:
            yield f"Part {number} of {self._target}, a chunk, has {found.size} bytes, not {size}."

    def _helper(self, there: dict[str, int], name: str, size: int) -> Iterator[str]:
        key = self._keys.helper(self._upload.stored_as, name)
        if key not in there:
            yield f"The object {key} is missing."
        elif there[key] != size:
            yield f"The object {key} has {there[key]} bytes, not {size}."
