"""What every storage must do: one suite, run on each. And what only a local disk can get wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path

import pytest

from flask_resumable.errors import BytesLost
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import StorageFull
from flask_resumable.errors import Unavailable
from flask_resumable.interfaces import Concatenates
from flask_resumable.interfaces import Storage
from flask_resumable.sansio.concat import Concat
from flask_resumable.sansio.ranges import ByteRanges
from flask_resumable.sansio.upload import Status
from flask_resumable.sansio.upload import Upload
from flask_resumable.storage.files import copy_range
from flask_resumable.storage.files import translated
from flask_resumable.storage.local import LocalStorage

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["none", "data", "full"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Each storage, empty."""
    return LocalStorage(tmp_path / "uploads", durability=request.param)


def _upload(number: int = 1, length: int | None = 10, **changes: object) -> Upload:
    return replace(
        Upload(id=f"{number:032x}", length=length, status=Status.ACTIVE, created_at=NOW),
        **changes,  # type: ignore[arg-type]
    )


def _put(storage: Storage, upload: Upload, content: bytes, *, start: int = 0, fence: int = 1) -> Upload:
    with storage.writer(upload, start, fence) as writer:
        writer.write(content)
        stored = writer.flush()
    return replace(upload, received=ByteRanges.prefix(start + len(content)), storage=stored)


def _finish(storage: Storage, upload: Upload, fence: int = 1) -> Upload:
    return replace(upload, storage=storage.finish(upload, fence), status=Status.COMPLETE)


def _read(storage: Storage, upload: Upload) -> bytes:
    with storage.open(upload) as stream:
        return stream.read()


def _files(storage: Storage) -> set[str]:
    assert isinstance(storage, LocalStorage)
    return {str(path.relative_to(storage.root)) for path in storage.root.rglob("*") if path.is_file()}


def test_bytes_come_back(storage: Storage) -> None:
    """What is written in pieces is read as a whole, before and after it is finished; the stream can be rewound."""
    upload = _put(storage, _upload(), b"hello")
    assert _read(storage, upload)[:5] == b"hello"
    upload = _put(storage, upload, b"world", start=5, fence=2)
    done = _finish(storage, upload, 2)
    with storage.open(done) as stream:
        assert stream.read() == b"helloworld"
        stream.seek(5)
        assert stream.read(2) == b"wo"


def test_an_empty_upload_is_an_empty_file(storage: Storage) -> None:
    """An upload without bytes is finished without a write."""
    assert _read(storage, _finish(storage, _upload(length=0))) == b""


def test_a_late_writer_writes_nothing(storage: Storage) -> None:
    """Once a newer claim has opened the upload, the older writer is stopped at its next block."""
    upload = _upload()
    with storage.writer(upload, 0, 1) as old:
        old.write(b"old")
        with storage.writer(upload, 0, 2) as new:
            new.write(b"new")
            with pytest.raises(ClaimLost):
                old.write(b"OLD")
            new.write(b"er")
            new.flush()
    assert _read(storage, upload)[:5] == b"newer"


def test_a_late_opener_is_refused(storage: Storage) -> None:
    """An older claim cannot open the upload after a newer one has."""
    _put(storage, _upload(), b"new", fence=2)
    with pytest.raises(ClaimLost), storage.writer(_upload(), 0, 1):
        pass


def test_a_finished_upload_cannot_be_written_to(storage: Storage) -> None:
    """A writer that slept through the end of the upload changes nothing."""
    upload = _upload()
    with storage.writer(upload, 0, 1) as old:
        done = _finish(storage, _put(storage, upload, b"0123456789", fence=2), 2)
        with pytest.raises(ClaimLost):
            old.write(b"XXX")
    assert _read(storage, done) == b"0123456789"


def test_a_writer_after_the_end_leaves_only_a_stray(storage: Storage) -> None:
    """A writer that opens after the end cannot reach the finished bytes, and what it leaves can be discarded."""
    done = _finish(storage, _put(storage, _upload(), b"0123456789", fence=2), 2)
    before = _files(storage)
    with suppress(ClaimLost):
        _put(storage, _upload(), b"XXX")
    assert _read(storage, done) == b"0123456789"
    storage.discard_stray(done)
    assert _files(storage) == before


def test_finishing_may_be_repeated(storage: Storage) -> None:
    """A finish that was interrupted after publishing is done again without harm, by another claim, too."""
    upload = _put(storage, _upload(), b"0123456789")
    first = storage.finish(upload, 1)
    assert storage.finish(upload, 2) == first
    assert _read(storage, replace(upload, storage=first)) == b"0123456789"


def test_finishing_cuts_off_what_never_counted(storage: Storage) -> None:
    """Content that failed its checksum lies behind the end, and is not published."""
    with storage.writer(_upload(), 0, 1) as writer:
        writer.write(b"0123456789garbage")
        writer.flush()
    assert _read(storage, _finish(storage, _upload())) == b"0123456789"


def test_missing_bytes_are_noticed(storage: Storage) -> None:
    """An upload whose saved bytes are not there is not continued or finished, and goes on from where they end."""
    upload = _put(storage, _upload(), b"0123")
    with pytest.raises(BytesLost) as caught:
        storage.finish(upload, 1)
    assert caught.value.offset == 4
    with pytest.raises(BytesLost), storage.writer(upload, 6, 2):
        pass
    done = _finish(storage, _put(storage, upload, b"456789", start=4, fence=3), 3)
    assert _read(storage, done) == b"0123456789"


def test_deleting_leaves_nothing(storage: Storage) -> None:
    """Unfinished or finished, an upload is removed without a trace, twice if need be."""
    half = _put(storage, _upload(1), b"0123")
    done = _finish(storage, _put(storage, _upload(2), b"0123456789"))
    unnoted = _put(storage, _upload(3), b"0123456789")
    storage.finish(unnoted, 1)  # published, but the record does not know
    for upload in (half, done, unnoted, half, done, _upload(4)):
        storage.delete(upload)
    assert _files(storage) == set()


def test_parts_are_put_together(storage: Storage) -> None:
    """A final upload has its parts' bytes in order, a part that is listed twice twice; the parts stay."""
    if not isinstance(storage, Concatenates):
        pytest.skip("this storage does not concatenate")
    parts = []
    for number, content in ((1, b"abc"), (2, b""), (3, b"defg")):
        part = _upload(number, length=len(content), concat=Concat("partial"))
        part = _put(storage, part, content) if content else part
        parts.append(_finish(storage, part))
    final = _upload(9, length=10)
    for fence in (1, 2):
        stored = storage.concatenate(final, [parts[0], parts[1], parts[2], parts[0]], fence)
    assert _read(storage, _finish(storage, replace(final, storage=stored), 2)) == b"abcdefgabc"
    assert _read(storage, parts[2]) == b"defg"


def test_orphans_are_found_and_removed(storage: Storage) -> None:
    """Unfinished bytes are listed once they are old enough, and removing them tells how many there were."""
    _put(storage, _upload(1), b"0123")
    _finish(storage, _put(storage, _upload(2), b"0123456789"))
    assert not list(storage.orphans(datetime.now(UTC) - timedelta(hours=1)))
    found = dict(storage.orphans(FUTURE))
    assert set(found) == {_upload(1).id}
    assert found[_upload(1).id]() == 4
    assert not list(storage.orphans(FUTURE))


# --- local disk only ---


def test_only_ids_become_paths(tmp_path: Path) -> None:
    """Whatever is in a record, nothing but an id is ever a part of a path."""
    storage = LocalStorage(tmp_path / "uploads")
    for hostile in ("../" + "a" * 29, "A" * 32, "a" * 31, "", "a" * 32 + "\n"):
        with pytest.raises(ValueError), storage.writer(replace(_upload(), id=hostile), 0, 1):
            pass
        with pytest.raises(ValueError):
            storage.delete(replace(_upload(), id=hostile))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_folders_by_date(tmp_path: Path) -> None:
    """``strftime`` patterns in the folder stand for the time of creation; unfinished bytes lie beside all dates."""
    storage = LocalStorage(tmp_path / "up" / "%Y" / "%m-%d")
    done = _finish(storage, _put(storage, _upload(), b"0123456789"))
    assert storage.path(done) == tmp_path / "up" / "2026" / "01-02" / done.id
    assert storage.root == tmp_path / "up"


def test_strangers_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    """Files that are not ours are no orphans."""
    storage = LocalStorage(tmp_path / "uploads")
    _put(storage, _upload(), b"0123")
    for name in ("notes.txt", "a" * 32, "a" * 32 + ".part.bak", "x" * 32 + ".part"):
        (storage.root / ".partial" / name).write_text("mine")
    assert [upload_id for upload_id, _ in storage.orphans(FUTURE)] == [_upload().id]


def test_a_failed_sync_is_not_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync the kernel may have dropped the data; a second one must not report success."""
    storage = LocalStorage(tmp_path / "uploads")

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    with storage.writer(_upload(), 0, 1) as writer:
        writer.write(b"0123")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(Unavailable):
                writer.flush()
        with pytest.raises(Unavailable):
            writer.flush()


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, Unavailable)]
)
def test_errors_of_the_system_are_told_apart(number: int, error: type[Exception]) -> None:
    """A full disk is told from a broken one."""
    with pytest.raises(error), translated():
        raise OSError(number, "no")


@pytest.fixture
def two_files(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Descriptors of a file with five bytes, and of an empty one."""
    (tmp_path / "source").write_bytes(b"01234")
    source = os.open(tmp_path / "source", os.O_RDONLY)
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    yield source, target
    os.close(source)
    os.close(target)


def test_copies_fall_back_to_reading(two_files: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel cannot copy between two files, the bytes are read and written."""

    def refuse(*arguments: object) -> int:
        raise OSError(errno.EXDEV, "not here")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    assert copy_range(*two_files, 2, 5) == 7
    assert os.pread(two_files[1], 99, 0) == b"\0\x0001234"


def test_copies_of_too_little_fail(two_files: tuple[int, int]) -> None:
    """A source that is shorter than it should be is an error, not a shorter copy."""
    with pytest.raises(OSError, match="shorter"):
        copy_range(*two_files, 0, 6)
