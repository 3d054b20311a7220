"""Publishes the finished object, exactly once, no matter what was interrupted before."""

from __future__ import annotations

from collections.abc import Callable

from ...core.ranges import chunk_spans
from ...core.ranges import ChunkSpan
from ...core.upload import Upload
from ...errors import BytesLost
from ...errors import Unavailable
from .buffer import Content
from .composer import Composer
from .composer import EqualParts
from .composer import Range
from .composer import Source
from .errors import log_refusal
from .errors import logger
from .errors import Missing
from .errors import PartsChanged
from .errors import PartsRefused
from .geometry import are_equal
from .geometry import Geometry
from .geometry import parts_of_chunk
from .keys import Keys
from .orphans import WHOLE
from .state import MultipartState
from .state import STAGED
from .store import ObjectStore
from .store import Part
from .uploader import Uploader

_TRIES = 5  # a late writer can change a part between listing and completing, but not forever


class Completion:
    """Publishes one upload.

    :param marked: Returns the multipart upload that has the chunks, or raises ``Missing``.
    :param equal: Whether the store requires equal parts.
    """

    def __init__(
        self,
        store: ObjectStore,
        keys: Keys,
        uploader: Uploader,
        upload: Upload,
        marked: Callable[[Upload], str],
        equal: EqualParts,
    ) -> None:
        assert upload.length is not None
        self._store = store
        self._keys = keys
        self._uploader = uploader
        self._upload = upload
        self._length = upload.length
        self._target = keys.target(upload)
        self._composer = Composer(store, uploader, self._target)
        self._marked = marked
        self._equal = equal

    def publish(self, part_size: int) -> None:
        """Publish the object. This can be repeated.

        :raises BytesLost: Saved bytes are missing.
        """
        stored = self._upload.storage
        try:
            if self._length == 0:
                self._store.put(self._target, b"", info=self._uploader.info)
            elif stored.get("direct"):
                self._publish_chunk_parts()
            elif "chunks" in stored:
                self._publish_chunk_objects(part_size)
            elif "joined" in stored:
                self._publish_joined(part_size)
            else:
                state = MultipartState.read(stored, Geometry.fitting(self._length, part_size))
                self._publish_in_order(state.cut(self._length, self._length))
        except BytesLost:
            if self._store.size(self._target) != self._length:
                raise
            # An earlier request has published the object and cleaned up, but could not save that in the record.

    # --- content that came in order ---

    def _publish_in_order(self, state: MultipartState) -> None:
        if state.parts:
            multipart = state.multipart or self._uploader.begin()
            self._until_it_holds(
                multipart, _PartChecker(self._composer, self._keys, self._upload, state, multipart).tags
            )
            return
        self._put_whole([(self._helper(name), size) for name, size in state.tails])

    def _put_whole(self, sources: list[Source]) -> None:
        """Write one object without parts."""
        buffer = self._uploader.buffer(self._length)
        try:
            for key, size in sources:
                start = buffer.size
                try:
                    self._uploader.load_range(key, 0, size, buffer)
                except Missing:
                    raise BytesLost(start) from None
            self._store.put(self._target, Content(buffer), info=self._uploader.info)
        finally:
            buffer.close()

    def _until_it_holds(self, multipart: str, tags: Callable[[dict[int, Part]], list[str]]) -> None:
        """Complete the multipart upload with the tags that ``tags`` returns for the existing parts.

        :raises PartsRefused: The store has exactly these parts, but refuses to join them.
        """
        before: dict[int, Part] | None = None
        for _ in range(_TRIES):
            try:
                there = self._store.parts(self._target, multipart)
                wanted = tags(there)
                if there == before:
                    break
                self._store.complete(self._target, multipart, wanted, self._uploader.info)
                return
            except PartsChanged as error:
                before, refusal = there, error.__cause__
            except Missing:
                raise BytesLost(0) from None
        if max(there, default=0) > len(wanted):
            # There are parts after the end, from a request that died before the upload turned out to be shorter.
            # Ceph does not complete the upload while they exist, and they cannot be removed separately.
            raise BytesLost(0)
        if there != before:
            raise Unavailable  # another request keeps changing them
        log_refusal("complete_multipart_upload", self._target, refusal)
        raise PartsRefused from refusal

    # --- chunks ---

    def _publish_chunk_parts(self) -> None:
        def tags(there: dict[int, Part]) -> list[str]:
            found = []
            for chunk in self._chunks():
                for number, start, stop in parts_of_chunk(chunk):
                    part = there.get(number)
                    if part is None or part.size != stop - start:
                        raise BytesLost(chunk.start)
                    found.append(part.tag)
            return found

        try:
            multipart = self._marked(self._upload)
        except Missing:
            raise BytesLost(0) from None
        self._until_it_holds(multipart, tags)

    def _publish_chunk_objects(self, part_size: int) -> None:
        there = {key: size for key, size, _ in self._store.objects(self._keys.helpers(self._upload.stored_as))}
        sources = []
        for chunk in self._chunks():
            key = self._helper(f"chunk-{chunk.number}")
            if there.get(key) != chunk.size:
                raise BytesLost(chunk.start)
            sources.append((key, chunk.size))
        if self._length <= part_size:
            return self._put_whole(sources)
        try:
            multipart, joined = self._composer.compose(sources, part_size)
        except Missing:
            raise BytesLost(0) from None
        self._until_it_holds(multipart, lambda _: joined)

    def _chunks(self) -> list[ChunkSpan]:
        stored = self._upload.storage
        return list(chunk_spans(stored["chunk_size"], stored["chunks"], self._length))

    # --- parts of a concatenation ---

    def _publish_joined(self, part_size: int) -> None:
        stored = self._upload.storage
        sizes: list[int] = []

        def tags(there: dict[int, Part]) -> list[str]:
            known: list[str] = stored["parts"]
            found = [part for _, part in sorted(there.items())]
            if [part.tag for part in found] != known:
                raise BytesLost(0)
            sizes[:] = [part.size for part in found]
            return known

        try:
            self._until_it_holds(stored["multipart"], tags)
        except PartsRefused:
            if are_equal(sizes) or "sources" not in stored:
                raise
            self._publish_anew(part_size)
            self._equal.learn(True)
        else:
            if not are_equal(sizes):
                self._equal.learn(False)

    def _publish_anew(self, part_size: int) -> None:
        """Join the sources again, because the store requires equal parts."""
        logger.info("The store requires equal parts for %r; composing it again.", self._target)
        sources = [(self._keys.helper(part, WHOLE), size) for part, size in self._upload.storage["sources"]]
        try:
            multipart, joined = self._composer.compose(sources, part_size, equal=True)
        except Missing:
            raise BytesLost(0) from None
        self._until_it_holds(multipart, lambda _: joined)

    def _helper(self, name: str) -> str:
        return self._keys.helper(self._upload.stored_as, name)


class _PartChecker:
    """Checks that the parts of a multipart upload are those in the record, and adds those that are stored elsewhere."""

    def __init__(self, composer: Composer, keys: Keys, upload: Upload, state: MultipartState, multipart: str) -> None:
        self._composer = composer
        self._keys = keys
        self._upload = upload
        self._state = state
        self._multipart = multipart
        self._placed: dict[int, str] = {}

    def tags(self, there: dict[int, Part]) -> list[str]:
        """Return the tags of all parts, after adding the parts that are stored elsewhere."""
        pieces: dict[int, list[Range]] = {}
        for number, part in enumerate(self._state.parts, 1):
            start, stop = self._bounds(number)
            if part.startswith(STAGED):
                pieces[number] = [(self._helper(part.removeprefix(STAGED)), 0, stop - start)]
            elif number not in there or (there[number].tag, there[number].size) != (part, stop - start):
                raise BytesLost(start)
        if self._state.tails:
            pieces[self._state.next_number] = [(self._helper(name), 0, size) for name, size in self._state.tails]
        self._place(pieces, there)
        tags = dict(enumerate(self._state.parts, 1)) | self._placed
        return [tags[number] for number in sorted(tags)]

    def _place(self, pieces: dict[int, list[Range]], there: dict[int, Part]) -> None:
        missing = {
            number: piece
            for number, piece in pieces.items()
            if number not in self._placed or number not in there or there[number].tag != self._placed[number]
        }
        try:
            self._placed |= self._composer.place_all(self._multipart, missing)
        except Missing as error:
            raise BytesLost(self._bounds(error.args[0])[0]) from None

    def _bounds(self, number: int) -> tuple[int, int]:
        return self._state.geometry.start(number), self._state.geometry.stop(number, self._upload.length)

    def _helper(self, name: str) -> str:
        return self._keys.helper(self._upload.stored_as, name)
