"""What every storage must do, run on a local disk in each of its modes; and what only a local disk can get wrong."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import StorageFull
from flask_resumable.errors import Unavailable
from flask_resumable.interfaces import Storage
from flask_resumable.storage.file_io import file_errors
from flask_resumable.storage.local import files
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.local import writer as writing
from flask_resumable.storage.local.chunk_folder import ChunkFolder
from flask_resumable.storage.local.files import copy_range
from flask_resumable.storage.local.files import sync_content
from flask_resumable.storage.local.files import sync_directory
from flask_resumable.storage.local.files import sync_file
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
            patch.setattr(writing, "sync_content", fail)
            with pytest.raises(Unavailable):
                writer.flush()
        with pytest.raises(Unavailable):
            writer.flush()
        writer.write(b"45")
    upload = _upload(fence=1)
    assert (storage.progress(upload), storage.recover(upload, 2)) == (0, 0)  # other processes count none of it, either


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, Unavailable)]
)
def test_errors_of_the_system_are_told_apart(number: int, error: type[Exception]) -> None:
    """A full disk is told from a broken one."""
    with pytest.raises(error), file_errors:
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

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    assert copy_range(*two_files, 2, 5) == 7
    assert os.pread(two_files[1], 99, 0) == b"\0\x0001234"


def test_copies_need_no_kernel_that_can_copy(two_files: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no such call on macOS, nor where it was built for an old Linux."""
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    assert copy_range(*two_files, 2, 5) == 7
    assert os.pread(two_files[1], 99, 0) == b"\0\x0001234"


def test_copies_of_too_little_fail(two_files: tuple[int, int]) -> None:
    """A source that is shorter than it should be is an error, not a shorter copy."""
    with pytest.raises(OSError, match="shorter"):
        copy_range(*two_files, 0, 6)


class Syncs:
    """Notes which calls sync a descriptor, and lets them fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.errors: dict[str, int] = {}
        patch.setattr(os, "fsync", lambda descriptor: self._ask("fsync"))
        patch.setattr(os, "fdatasync", lambda descriptor: self._ask("fdatasync"), raising=False)
        patch.setattr(fcntl, "fcntl", lambda descriptor, command: self._ask(f"fcntl {command}"))

    def _ask(self, call: str) -> None:
        self.asked.append(call)
        if call in self.errors:
            raise OSError(self.errors[call], "no")


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    """The calls of macOS, which has a command more. Its ``fdatasync``, should Python offer it, does less."""
    syncs = Syncs(monkeypatch)
    monkeypatch.setattr(files, "_TO_THE_PLATTER", 51)
    return syncs


@pytest.mark.parametrize("sync", [sync_content, sync_file])
def test_on_macos_a_sync_reaches_the_platter(mac: Syncs, sync: Callable[[int], None]) -> None:
    """``fsync`` would leave the bytes in the drive's cache, where a loss of power finds them."""
    sync(3)
    assert mac.asked == ["fcntl 51"]


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EINVAL, errno.ENOTTY])
def test_a_share_that_cannot_be_told_to_is_synced_as_it_can(mac: Syncs, number: int) -> None:
    """A file system that does not know the command gets the next best."""
    mac.errors["fcntl 51"] = number
    sync_content(3)
    assert mac.asked == ["fcntl 51", "fsync"]


def test_after_a_sync_that_failed_no_other_is_believed(mac: Syncs) -> None:
    """The second one may report success for bytes that the first one has lost."""
    mac.errors["fcntl 51"] = errno.EIO
    with pytest.raises(OSError, match="no"):
        sync_content(3)
    assert mac.asked == ["fcntl 51"]


def test_where_there_is_no_way_to_sync_contents_alone_files_are_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some BSDs have neither call."""
    syncs = Syncs(monkeypatch)
    monkeypatch.setattr(files, "_TO_THE_PLATTER", None)
    sync_content(3)
    monkeypatch.delattr(os, "fdatasync")
    sync_content(3)
    assert syncs.asked == ["fdatasync", "fsync"]


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems refuse that, and nothing else can be done there; a disk that is broken is told."""
    syncs = Syncs(monkeypatch)
    monkeypatch.setattr(files, "_TO_THE_PLATTER", None)
    before = len(os.listdir("/dev/fd"))
    syncs.errors["fsync"] = errno.EINVAL
    sync_directory(str(tmp_path))
    syncs.errors["fsync"] = errno.EIO
    with pytest.raises(OSError, match="no"):
        sync_directory(str(tmp_path))
    assert len(os.listdir("/dev/fd")) == before


def test_chunk_locks_of_a_process_that_died_go_with_the_rest(tmp_path: Path) -> None:
    """Where a chunk's lock is a file, a crash leaves it. It is never in the way, and removed when nobody knows the
    upload any more; one that was touched lately keeps all of them.
    """
    storage = LocalStorage(tmp_path / "uploads")
    _put(storage, _upload(), b"0123")
    work = storage.root / ".partial"
    for name in (f"{_upload().id}.lock.7", f"{_upload().id}.lock.12", f"{_upload(2).id}.lock.1", "mine.lock.1"):
        (work / name).touch()
    old = NOW.timestamp()
    for file in work.iterdir():
        os.utime(file, (old, old))
    os.utime(work / f"{_upload(2).id}.lock.1")
    found = dict(storage.orphans(NOW + timedelta(days=1)))
    assert {*found} == {_upload().id}
    assert found[_upload().id]() == 4
    assert {path.name for path in work.iterdir()} == {f"{_upload(2).id}.lock.1", "mine.lock.1"}
    assert {*dict(storage.orphans(FUTURE))} == {_upload(2).id}


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
