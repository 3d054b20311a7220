"""Tests for a storage that receives chunks; see :class:`~flask_resumable.interfaces.chunks.PlacesChunks`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from datetime import UTC

import pytest

from ..core.ranges import ByteRanges
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import BytesLost
from ..errors import ClaimLost
from ..interfaces import Storage
from .samples import an_upload


def place(storage: Storage, upload: Upload, number: int, content: bytes) -> None:
    """Write a chunk to its place, as a request does. Each chunk has three digits, the last one the remaining four."""
    chunks = storage.capabilities.chunks
    assert chunks is not None
    assert upload.length is not None
    start = (number - 1) * (upload.length * 3 // 10)
    with chunks.spool() as spool:
        half = len(content) // 2
        spool.write(content[:half])
        spool.write(content[half:])
        spool.seek(0)
        with chunks.placing(upload, number, start) as slot:
            slot.fill(spool)


FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


class ChunkContract:
    """Ten digits in three chunks, of three, three and four digits."""

    @pytest.fixture
    def chunked(self, storage: Storage, times: int) -> Upload:
        """An upload that arrives in chunks."""
        chunks = storage.capabilities.chunks
        if chunks is None:
            pytest.skip("this storage does not accept chunks")
        return an_upload(7, length=10 * times, client_key="a key", storage=chunks.layout(3 * times, 3))

    def test_chunks_come_in_any_order(
        self, storage: Storage, chunked: Upload, content: Callable[[str], bytes], kept: Callable[[], set[str]]
    ) -> None:
        """Chunks are read in the order of their numbers, whichever order they arrive in, even if one is repeated."""
        for number, digits in ((3, "6789"), (1, "012"), (3, "6789"), (2, "345")):
            place(storage, chunked, number, content(digits))
        chunked = replace(chunked, received=ByteRanges.prefix(chunked.length or 0))
        stored = storage.finish(chunked, 1)
        assert storage.finish(chunked, 2) == stored
        done = replace(chunked, storage=stored, status=Status.COMPLETE)
        with storage.open(done) as stream:
            assert stream.read() == content("0123456789")
        assert len(kept()) == 1

    def test_chunks_are_received_in_their_places(
        self, storage: Storage, chunked: Upload, content: Callable[[str], bytes], times: int
    ) -> None:
        """A chunk that is written to its place while it arrives reads the same as one that is spooled first."""
        place(storage, chunked, 1, content("012"))
        place(storage, chunked, 3, content("6789"))
        chunks = storage.capabilities.chunks
        incoming = None if chunks is None else chunks.receiving(chunked, 2, 3 * times, 3 * times)
        if incoming is None:
            pytest.skip("this storage does not receive chunks in place")
        with closing(incoming):
            incoming.write(content("34"))
            incoming.write(content("56"))  # beyond the end of the chunk
            with incoming.settling():
                pass
        done = replace(chunked, storage=storage.finish(chunked, 1), status=Status.COMPLETE)
        with storage.open(done) as stream:
            assert stream.read() == content("0123456789")

    def test_a_late_chunk_does_not_change_what_is_finished(
        self, storage: Storage, chunked: Upload, content: Callable[[str], bytes], kept: Callable[[], set[str]]
    ) -> None:
        """The chunk is refused, or leaves only what can be discarded or what the cleaner finds."""
        for number, digits in ((1, "012"), (2, "345"), (3, "6789")):
            place(storage, chunked, number, content(digits))
        done = replace(chunked, storage=storage.finish(chunked, 1), status=Status.COMPLETE)
        before = kept()
        with suppress(ClaimLost):
            place(storage, chunked, 2, content("xxx"))
        storage.remove_orphans(done)
        for _, remove in storage.orphans(FUTURE):
            remove()
        with storage.open(done) as stream:
            assert stream.read() == content("0123456789")
        assert kept() == before

    def test_a_late_chunk_of_a_removed_upload_leaves_nothing(
        self, storage: Storage, chunked: Upload, content: Callable[[str], bytes], kept: Callable[[], set[str]]
    ) -> None:
        """What arrives after the removal can be discarded, or the cleaner finds it."""
        place(storage, chunked, 1, content("012"))
        storage.delete(chunked)
        assert kept() == set()
        with suppress(ClaimLost):
            place(storage, chunked, 2, content("345"))
        storage.remove_orphans(replace(chunked, status=Status.GONE))
        for _, remove in storage.orphans(FUTURE):
            remove()
        assert kept() == set()

    def test_chunks_without_a_record_are_listed_once(
        self,
        storage: Storage,
        chunked: Upload,
        content: Callable[[str], bytes],
        kept: Callable[[], set[str]],
        times: int,
    ) -> None:
        """All that there is of an upload has one name, and goes at once."""
        place(storage, chunked, 1, content("012"))
        place(storage, chunked, 3, content("6789"))
        ((name, remove),) = storage.orphans(FUTURE)
        assert name == chunked.stored_as
        assert remove() >= 7 * times
        assert not list(storage.orphans(FUTURE))
        assert kept() == set()

    def test_an_upload_that_lacks_its_last_chunk_is_not_finished(
        self, storage: Storage, chunked: Upload, content: Callable[[str], bytes], times: int
    ) -> None:
        """The error says how many bytes are there, and the upload can be continued from that offset."""
        place(storage, chunked, 1, content("012"))
        place(storage, chunked, 2, content("345"))
        with pytest.raises(BytesLost) as caught:
            storage.finish(chunked, 1)
        assert caught.value.offset == 6 * times
        place(storage, chunked, 3, content("6789"))
        done = replace(chunked, storage=storage.finish(chunked, 2))
        with storage.open(done) as stream:
            assert stream.read() == content("0123456789")
