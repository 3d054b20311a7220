"""What every storage must do, run on a local disk in each of its modes; and what only a local disk can get wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from datetime import UTC
from pathlib import Path

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import StorageFull
from flask_resumable.errors import Unavailable
from flask_resumable.interfaces import Storage
from flask_resumable.storage.file_io import translated
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.local.chunk_folder import ChunkFolder
from flask_resumable.storage.local.files import copy_range
from flask_resumable.testing import StorageContract
from flask_resumable.testing.chunks import FUTURE
from flask_resumable.testing.storage import finish as _finish
from flask_resumable.testing.storage import put as _put
from flask_resumable.testing.storage import read as _read

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _upload(number: int = 1, length: int | None = 10, **changes: object) -> Upload:
    return replace(
        Upload(id=f"{number:032x}", length=length, status=Status.ACTIVE, created_at=NOW),
        **changes,  # type: ignore[arg-type]
    )


def _files(storage: Storage) -> set[str]:
    assert isinstance(storage, LocalStorage)
    return {str(path.relative_to(storage.root)) for path in storage.root.rglob("*") if path.is_file()}


class TestLocalStorage(StorageContract):
    """Files that chunks are placed in."""

    @pytest.fixture(params=["none", "data", "full"])
    def storage(self, request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
        return LocalStorage(tmp_path / "uploads", durability=request.param)

    @pytest.fixture
    def kept(self, storage: Storage) -> Callable[[], set[str]]:
        return lambda: _files(storage)


class TestLocalStorageWithChunkFolder(TestLocalStorage):
    """Files that chunks are merged into."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return LocalStorage(tmp_path / "uploads", chunks=ChunkFolder(tmp_path / "uploads" / ".chunks"))


# --- local disk only ---


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty folder."""
    return LocalStorage(tmp_path / "uploads")


def test_unfinished_bytes_can_be_read(storage: Storage) -> None:
    """What came so far is read as it is."""
    assert _read(storage, _put(storage, _upload(), b"hello")) == b"hello"


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


def test_a_writer_of_a_finished_upload_is_stopped(storage: Storage) -> None:
    """A writer that slept through the end of the upload learns of it."""
    upload = _upload()
    with storage.writer(upload, 0, 1) as old:
        _finish(storage, _put(storage, upload, b"0123456789", fence=2), 2)
        with pytest.raises(ClaimLost):
            old.write(b"XXX")


def test_finishing_cuts_off_what_never_counted(storage: Storage) -> None:
    """Content that failed its checksum lies behind the end, and is not published."""
    with storage.writer(_upload(), 0, 1) as writer:
        writer.write(b"0123456789garbage")
        writer.flush()
    assert _read(storage, _finish(storage, _upload())) == b"0123456789"


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


@pytest.mark.parametrize("size", [20, 5_000_000])
def test_what_is_on_its_way_can_be_read_from_anywhere(tmp_path: Path, size: int) -> None:
    """In memory as in a file: positions are counted from the start, and reading nothing changes nothing."""
    content = os.urandom(size)
    storage = LocalStorage(tmp_path)
    with storage.spool() as spool:
        for at in range(0, size, 7_000):
            spool.write(content[at : at + 7_000])
        for start in (0, 3, size // 2, 7, size):
            assert spool.seek(start) == start
            assert bytes(spool.read(0)) == b""
            pieces = []
            while piece := spool.read(11_000):
                pieces.append(bytes(piece))
            assert b"".join(pieces) == content[start:]
