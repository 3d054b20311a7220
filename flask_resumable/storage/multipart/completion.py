"""Making the finished object, once, whatever was interrupted before."""

from __future__ import annotations

from collections.abc import Callable

from ...core.ranges import chunk_spans
from ...core.ranges import ChunkSpan
from ...core.upload import Upload
from ...errors import BytesLost
from ...errors import Unavailable
from ..s3.errors import log_refusal
from ..s3.errors import logger
from ..s3.errors import Missing
from ..s3.errors import PartsChanged
from ..s3.errors import PartsRefused
from ..s3.store import Bucket
from ..s3.store import Part
from .buffer import Content
from .composer import EqualParts
from .composer import Joiner
from .composer import Range
from .composer import Source
from .geometry import are_equal
from .geometry import Geometry
from .geometry import parts_of_chunk
from .keys import Keys
from .orphans import WHOLE
from .state import Notes
from .state import STAGED
from .uploader import Sender

_TRIES = 5  # a part of a late writer may arrive between a look and the end, but not for ever


class Publisher:
    """One upload on its way to its target.

    :param marked: What knows the multipart upload that chunks were put into; raises ``Missing``.
    :param equal: What is known of the parts that the store takes.
    """

    def __init__(
        self,
        bucket: Bucket,
        keys: Keys,
        sender: Sender,
        upload: Upload,
        marked: Callable[[Upload], str],
        equal: EqualParts,
    ) -> None:
        assert upload.length is not None
        self._bucket = bucket
        self._keys = keys
        self._sender = sender
        self._upload = upload
        self._length = upload.length
        self._target = keys.target(upload)
        self._joiner = Joiner(bucket, sender, self._target)
        self._marked = marked
        self._equal = equal

    def publish(self, part_size: int, minimum: int) -> None:
        """Make the object. May be repeated.

        :raises BytesLost: Saved bytes are not there.
        """
        stored = self._upload.storage
        try:
            if self._length == 0:
                self._bucket.put(self._target, b"")
            elif stored.get("direct"):
                self._publish_chunk_parts()
            elif "chunks" in stored:
                self._publish_chunk_objects(part_size, minimum)
            elif "joined" in stored:
                self._publish_joined(part_size, minimum)
            else:
                notes = Notes.read(stored, Geometry.fitting(self._length, part_size)).cut(self._length, self._length)
                self._publish_notes(notes)
        except BytesLost:
            if self._bucket.size(self._target) != self._length:
                raise
            # Somebody was here before, and cleaned up; only his word did not get into the record.

    # --- content that came in order ---

    def _publish_notes(self, notes: Notes) -> None:
        if notes.parts:
            multipart = notes.multipart or self._sender.begin()
            self._until_it_holds(multipart, _Assembly(self._joiner, self._keys, self._upload, notes, multipart).etags)
            return
        self._put_whole([(self._helper(name), size) for name, size in notes.tails])

    def _put_whole(self, sources: list[Source]) -> None:
        """As one object, without parts."""
        buffer = self._sender.buffer(self._length)
        try:
            for key, size in sources:
                start = buffer.size
                try:
                    self._sender.load_range(key, 0, size, buffer)
                except Missing:
                    raise BytesLost(start) from None
            self._bucket.put(self._target, Content(buffer))
        finally:
            buffer.close()

    def _until_it_holds(self, multipart: str, etags: Callable[[dict[int, Part]], list[str]]) -> None:
        """Complete the multipart upload with what ``etags`` makes of the parts that are there.

        :raises PartsRefused: The store has exactly these parts, and does not take them.
        """
        before: dict[int, Part] | None = None
        for _ in range(_TRIES):
            try:
                there = self._bucket.parts(self._target, multipart)
                wanted = etags(there)
                if there == before:
                    break
                self._bucket.complete(self._target, multipart, wanted)
                return
            except PartsChanged as error:
                before, refusal = there, error.__cause__
            except Missing:
                raise BytesLost(0) from None
        if max(there, default=0) > len(wanted):
            # Parts behind the end, of a request that died before the upload turned out to be shorter than it meant.
            # Ceph completes nothing while they are there, and they cannot be removed alone.
            raise BytesLost(0)
        if there != before:
            raise Unavailable  # something changes them all the time
        log_refusal("complete_multipart_upload", self._target, refusal)
        raise PartsRefused from refusal

    # --- chunks ---

    def _publish_chunk_parts(self) -> None:
        def etags(there: dict[int, Part]) -> list[str]:
            found = []
            for chunk in self._chunks():
                for number, start, stop in parts_of_chunk(chunk):
                    part = there.get(number)
                    if part is None or part.size != stop - start:
                        raise BytesLost(chunk.start)
                    found.append(part.etag)
            return found

        try:
            multipart = self._marked(self._upload)
        except Missing:
            raise BytesLost(0) from None
        self._until_it_holds(multipart, etags)

    def _publish_chunk_objects(self, part_size: int, minimum: int) -> None:
        there = {key: size for key, size, _ in self._bucket.objects(self._keys.helpers(self._upload.id))}
        sources = []
        for chunk in self._chunks():
            key = self._helper(f"chunk-{chunk.number}")
            if there.get(key) != chunk.size:
                raise BytesLost(chunk.start)
            sources.append((key, chunk.size))
        if self._length <= part_size:
            return self._put_whole(sources)
        try:
            multipart, joined = self._joiner.join(sources, part_size, minimum)
        except Missing:
            raise BytesLost(0) from None
        self._until_it_holds(multipart, lambda _: joined)

    def _chunks(self) -> list[ChunkSpan]:
        stored = self._upload.storage
        return list(chunk_spans(stored["chunk_size"], stored["chunks"], self._length))

    # --- parts of a concatenation ---

    def _publish_joined(self, part_size: int, minimum: int) -> None:
        stored = self._upload.storage
        sizes: list[int] = []

        def etags(there: dict[int, Part]) -> list[str]:
            known: list[str] = stored["parts"]
            found = [part for _, part in sorted(there.items())]
            if [part.etag for part in found] != known:
                raise BytesLost(0)
            sizes[:] = [part.size for part in found]
            return known

        try:
            self._until_it_holds(stored["multipart"], etags)
        except PartsRefused:
            if are_equal(sizes) or "sources" not in stored:
                raise
            self._publish_anew(part_size, minimum)
            self._equal.learn(True)
        else:
            if not are_equal(sizes):
                self._equal.learn(False)

    def _publish_anew(self, part_size: int, minimum: int) -> None:
        """Join once more what was joined: the store does not take parts that differ in size."""
        logger.info("The store wants parts of one size for %r; they are made once more.", self._target)
        sources = [(self._keys.helper(part, WHOLE), size) for part, size in self._upload.storage["sources"]]
        try:
            multipart, joined = self._joiner.join(sources, part_size, minimum, equal=True)
        except Missing:
            raise BytesLost(0) from None
        self._until_it_holds(multipart, lambda _: joined)

    def _helper(self, name: str) -> str:
        return self._keys.helper(self._upload.id, name)


class _Assembly:
    """Sees to it that each part of a multipart upload is the one that the record means."""

    def __init__(self, joiner: Joiner, keys: Keys, upload: Upload, notes: Notes, multipart: str) -> None:
        self._joiner = joiner
        self._keys = keys
        self._upload = upload
        self._notes = notes
        self._multipart = multipart
        self._placed: dict[int, str] = {}

    def etags(self, there: dict[int, Part]) -> list[str]:
        """The ETags of all parts; those that are kept elsewhere are put in, unless they are already."""
        pieces: dict[int, list[Range]] = {}
        for number, part in enumerate(self._notes.parts, 1):
            start, stop = self._bounds(number)
            if part.startswith(STAGED):
                pieces[number] = [(self._helper(part.removeprefix(STAGED)), 0, stop - start)]
            elif number not in there or (there[number].etag, there[number].size) != (part, stop - start):
                raise BytesLost(start)
        if self._notes.tails:
            pieces[self._notes.next_number] = [(self._helper(name), 0, size) for name, size in self._notes.tails]
        self._place(pieces, there)
        etags = dict(enumerate(self._notes.parts, 1)) | self._placed
        return [etags[number] for number in sorted(etags)]

    def _place(self, pieces: dict[int, list[Range]], there: dict[int, Part]) -> None:
        missing = {
            number: piece
            for number, piece in pieces.items()
            if number not in self._placed or number not in there or there[number].etag != self._placed[number]
        }
        try:
            self._placed |= self._joiner.place_all(self._multipart, missing)
        except Missing as error:
            raise BytesLost(self._bounds(error.args[0])[0]) from None

    def _bounds(self, number: int) -> tuple[int, int]:
        return self._notes.geometry.start(number), self._notes.geometry.stop(number, self._upload.length)

    def _helper(self, name: str) -> str:
        return self._keys.helper(self._upload.id, name)
