"""The contract of a storage; see :class:`~flask_resumable.interfaces.Storage`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC

import pytest

from ..core.concat import Concat
from ..core.ranges import ByteRanges
from ..core.upload import Status
from ..core.upload import Upload
from ..core.upload import with_chosen_id
from ..core.upload import with_storage
from ..errors import BytesLost
from ..errors import ClaimLost
from ..interfaces import Storage
from .chunks import ChunkContract
from .chunks import FUTURE
from .samples import an_upload

BLOCKS = 7  # the number of blocks that content is written in


def put(
    storage: Storage, upload: Upload, content: bytes, *, start: int = 0, fence: int = 1, is_late: bool = False
) -> Upload:
    """Write content as a request does, and return the upload as its record would show it.

    :param is_late: Whether another request has taken over, so that nothing is saved on the way.
    """
    with storage.writer(upload, start, fence) as writer:
        paced = writer.capabilities.paced
        step = max(1, len(content) // BLOCKS)
        for at in range(0, len(content), step):
            writer.write(content[at : at + step])
            if not is_late and paced is not None and paced.is_due:
                paced.checkpoint(counts=True)
                paced.saved()
        stored = writer.flush()
    return with_storage(replace(upload, received=ByteRanges.prefix(start + len(content))), stored)


def finish(storage: Storage, upload: Upload, fence: int = 1) -> Upload:
    """Publish the upload, and return it as its record would show it."""
    return with_storage(replace(upload, status=Status.COMPLETE), storage.finish(upload, fence))


def read(storage: Storage, upload: Upload) -> bytes:
    """Return all bytes of the upload."""
    with storage.open(upload) as stream:
        return stream.read()


class StorageContract(ChunkContract):
    """Tests a storage. Subclass it and override the fixtures ``storage`` and ``kept``.

    The content consists of ten digits, each repeated ``times`` times.
    """

    @pytest.fixture
    def storage(self) -> Storage:
        """The storage under test, empty."""
        raise NotImplementedError("Override the fixture 'storage' in your test class.")

    @pytest.fixture
    def kept(self) -> Callable[[], set[str]]:
        """A function that returns the names of all files, objects or rows that the storage has at the moment."""
        raise NotImplementedError("Override the fixture 'kept' in your test class.")

    @pytest.fixture
    def times(self) -> int:
        """The size of the contents. Override it if the storage treats large ones differently."""
        return 1

    @pytest.fixture
    def content(self, times: int) -> Callable[[str], bytes]:
        """A function that turns digits into content."""
        return lambda digits: b"".join(digit.encode() * times for digit in digits)

    @pytest.fixture
    def upload(self, times: int) -> Upload:
        """An upload that expects all ten digits."""
        return an_upload(length=10 * times)

    def test_bytes_come_back(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes], times: int
    ) -> None:
        """Content that was written by two requests is read as a whole once finished. The stream is seekable."""
        upload = put(storage, upload, content("01234"))
        upload = put(storage, upload, content("56789"), start=5 * times, fence=2)
        done = finish(storage, upload, 2)
        with storage.open(done) as stream:
            assert stream.read() == content("0123456789")
            stream.seek(5 * times)
            assert stream.read(2 * times) == content("56")
            stream.seek(-times, 2)
            assert stream.read() == content("9")
            assert stream.read(1) == b""

    def test_many_small_requests_add_up(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes], times: int
    ) -> None:
        """Each request may bring very little."""
        whole, step = content("0123456789"), max(1, times // 5)
        for fence, start in enumerate(range(0, len(whole), step), 1):
            upload = put(storage, upload, whole[start : start + step], start=start, fence=fence)
        assert read(storage, finish(storage, upload, 99)) == whole

    def test_a_length_may_be_declared_late(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes]
    ) -> None:
        """The first bytes may arrive before the length is known."""
        begun = put(storage, replace(upload, length=None), content("012"))
        start = begun.offset
        upload = put(storage, replace(begun, length=upload.length), content("3456789"), start=start, fence=2)
        assert read(storage, finish(storage, upload, 2)) == content("0123456789")

    def test_an_empty_upload_is_an_empty_file(self, storage: Storage) -> None:
        """An upload without bytes can be finished without a write."""
        assert read(storage, finish(storage, an_upload(length=0))) == b""

    def test_a_late_writer_changes_nothing(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes]
    ) -> None:
        """Once a newer claim has opened the upload, nothing that the older writer does changes it."""
        with storage.writer(upload, 0, 1) as old:
            old.write(content("ab"))
            with storage.writer(upload, 0, 2) as new:
                new.write(content("01"))
                with suppress(ClaimLost):
                    old.write(content("cdefgh"))
                    old.flush()
                new.write(content("23456789"))
                stored = new.flush()
        saved = replace(upload, received=ByteRanges.prefix(upload.length or 0), storage=stored)
        assert read(storage, finish(storage, saved, 2)) == content("0123456789")

    def test_a_late_opener_changes_nothing(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes], times: int
    ) -> None:
        """An older claim that opens the upload after a newer one cannot change it, either."""
        half = put(storage, upload, content("01234"), fence=2)
        with suppress(ClaimLost):
            put(storage, upload, content("abcdefghij"), fence=1, is_late=True)
        done = finish(storage, put(storage, half, content("56789"), start=5 * times, fence=3), 3)
        assert read(storage, done) == content("0123456789")

    def test_a_finished_upload_cannot_be_changed(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes]
    ) -> None:
        """A writer that slept past the end of the upload changes nothing."""
        with storage.writer(upload, 0, 1) as old:
            done = finish(storage, put(storage, upload, content("0123456789"), fence=2), 2)
            with suppress(ClaimLost):
                old.write(content("abcdefghij"))
                old.flush()
        assert read(storage, done) == content("0123456789")

    def test_a_writer_after_the_end_leaves_only_orphans(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes], kept: Callable[[], set[str]]
    ) -> None:
        """A writer that opens after the end cannot change the finished bytes, and what it leaves can be discarded."""
        done = finish(storage, put(storage, upload, content("0123456789"), fence=2), 2)
        before = kept()
        with suppress(ClaimLost):
            put(storage, upload, content("abcdefghij"), is_late=True)
        assert read(storage, done) == content("0123456789")
        storage.remove_orphans(done)
        assert kept() == before

    def test_finishing_may_be_repeated(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes], kept: Callable[[], set[str]]
    ) -> None:
        """Finishing again after an interruption, even under another claim, does no harm."""
        upload = put(storage, upload, content("0123456789"))
        first = storage.finish(upload, 1)
        before = kept()
        assert storage.finish(upload, 2) == first
        assert read(storage, replace(upload, storage=first)) == content("0123456789")
        assert kept() == before
        assert len(before) == 1

    def test_what_never_counted_is_not_published(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes], times: int
    ) -> None:
        """Bytes that were never recorded are overwritten or cut off."""
        half = put(storage, upload, content("01234"))
        put(storage, half, content("xxxxx"), start=5 * times, fence=2, is_late=True)
        half = put(storage, half, content("567"), start=5 * times, fence=3)
        done = finish(storage, put(storage, half, content("89"), start=8 * times, fence=4), 4)
        assert read(storage, done) == content("0123456789")

    def test_missing_bytes_are_noticed(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes], times: int
    ) -> None:
        """An upload with missing bytes is neither continued nor finished, and resumes where they end."""
        upload = put(storage, upload, content("0123"))
        with pytest.raises(BytesLost) as caught:
            storage.finish(upload, 1)
        assert caught.value.offset == 4 * times
        with pytest.raises(BytesLost), storage.writer(upload, 6 * times, 2):
            pass
        done = finish(storage, put(storage, upload, content("456789"), start=4 * times, fence=3), 3)
        assert read(storage, done) == content("0123456789")

    def test_deleting_leaves_nothing(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes], kept: Callable[[], set[str]]
    ) -> None:
        """Finished or not, an upload is removed without a trace, even if that is repeated."""
        uploads = [replace(upload, id=an_upload(number).id) for number in range(1, 5)]
        half = put(storage, uploads[0], content("0123"))
        done = finish(storage, put(storage, uploads[1], content("0123456789")))
        unnoted = put(storage, uploads[2], content("0123456789"))
        storage.finish(unnoted, 1)  # published, but not recorded
        for upload in (half, done, unnoted, half, done, uploads[3]):
            storage.delete(upload)
        assert kept() == set()

    def test_parts_are_put_together(
        self, storage: Storage, content: Callable[[str], bytes], times: int, kept: Callable[[], set[str]]
    ) -> None:
        """A final upload has the bytes of its parts in order. A part may be listed twice. The parts stay."""
        concatenation = storage.capabilities.concatenation
        if concatenation is None:
            pytest.skip("this storage does not support concatenation")
        parts = []
        for number, digits in ((1, "012"), (2, ""), (3, "3456")):
            part = an_upload(number, length=len(digits) * times, concat=Concat("partial"))
            part = put(storage, part, content(digits)) if digits else part
            parts.append(finish(storage, part))
        final = an_upload(9, length=10 * times)
        for fence in (1, 2):
            stored = concatenation.concatenate(final, [parts[0], parts[1], parts[2], parts[0]], fence)
        final = replace(final, storage=stored, received=ByteRanges.prefix(10 * times))
        assert read(storage, finish(storage, final, 2)) == content("0123456012")
        assert read(storage, parts[2]) == content("3456")
        assert read(storage, parts[1]) == b""
        for part in (*parts, final):
            storage.delete(part)
        assert kept() == set()

    def test_uploads_with_one_id_are_kept_apart(
        self, storage: Storage, upload: Upload, content: Callable[[str], bytes], kept: Callable[[], set[str]]
    ) -> None:
        """An app may give the id of a removed upload to another one. Late requests of the first do not reach that."""
        first = with_chosen_id(upload, "report-7")
        second = with_chosen_id(replace(upload, id=an_upload(2).id), "report-7")
        storage.delete(put(storage, first, content("0123")))
        with storage.writer(second, 0, 1) as writer:
            writer.write(content("01234"))
            late = put(storage, first, content("abcdefghij"), fence=9, is_late=True)
            writer.write(content("56789"))
            stored = writer.flush()
        second = with_storage(replace(second, received=ByteRanges.prefix(upload.length or 0)), stored)
        published = finish(storage, late, 9)
        done = finish(storage, second)
        assert read(storage, published) == content("abcdefghij")
        storage.delete(published)
        assert read(storage, done) == content("0123456789")
        assert len(kept()) == 1

    def test_orphans_are_found_and_removed(
        self,
        storage: Storage,
        upload: Upload,
        content: Callable[[str], bytes],
        times: int,
        kept: Callable[[], set[str]],
    ) -> None:
        """Unfinished bytes are listed once they are old enough, and removing them returns how many there were."""
        half = put(storage, upload, content("0123"))
        done = finish(storage, put(storage, replace(upload, id=an_upload(2).id), content("0123456789")))
        assert not list(storage.orphans(datetime.now(UTC) - timedelta(hours=1)))
        found = dict(storage.orphans(FUTURE))
        assert set(found) == {half.id}
        assert found[half.id]() == 4 * times
        assert not list(storage.orphans(FUTURE))
        assert read(storage, done) == content("0123456789")
        assert len(kept()) == 1
