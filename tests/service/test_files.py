"""The bytes of uploads as models read them, also through instances that were loaded before their file was moved."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import Unavailable
from flask_resumable.service.digests import digest_of
from flask_resumable.service.files import UploadFiles
from tests.memory_storage import Stream

from .disk import DiskSite
from .site import HOUR
from .site import Site

CONTENT = b"0123456789"


@pytest.mark.parametrize(
    ("name", "length", "found"),
    [
        ("sha256", None, hashlib.sha256(CONTENT).hexdigest()),
        ("md5", 4, hashlib.md5(b"0123", usedforsecurity=False).hexdigest()),
        ("crc32", None, f"{zlib.crc32(CONTENT):08x}"),
        ("crc32", 7, f"{zlib.crc32(b'0123456'):08x}"),
        ("sha1", 0, hashlib.sha1(b"", usedforsecurity=False).hexdigest()),
        ("sha1", 99, hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()),
    ],
)
def test_a_digest_is_that_of_the_first_bytes(name: str, length: int | None, found: str) -> None:
    """Or of all, by the algorithms of clients and by those of Python; never more is read than a block."""
    stream = Stream(CONTENT)
    assert digest_of(stream, name, length, 3) == found
    assert all(size <= 3 for _, size in stream.reads)
    assert stream.tell() == min(len(CONTENT) if length is None else length, len(CONTENT))


def test_an_unknown_digest_is_an_error() -> None:
    """Of the caller."""
    with pytest.raises(ValueError):
        digest_of(io.BytesIO(CONTENT), "sha257", None, 3)


def test_machines_that_forbid_old_algorithms_for_security_allow_them_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those with FIPS do. A digest that tells files apart protects nothing."""
    new = hashlib.new

    def strict(name: str, *, usedforsecurity: bool = True) -> Any:
        if usedforsecurity:
            raise ValueError("disabled for FIPS")
        return new(name)

    monkeypatch.setattr(hashlib, "new", strict)
    assert digest_of(Stream(CONTENT), "sha224", None, 3) == hashlib.sha224(CONTENT).hexdigest()


class Shelf:
    """An app that moves its files, and an instance of each that was loaded before."""

    def __init__(self, home: Path) -> None:
        self.site = DiskSite(home)
        self.target = home / "kept" / "file"
        self.loaded: list[Upload] = []
        self.in_hook: set[str] = set()
        self.overwrite = False
        self.files = UploadFiles(self.site.service, 4, lambda upload_id: upload_id in self.in_hook)
        self.site.during["on_complete"] = self._complete

    def _complete(self, view: Any) -> None:
        upload = self.site.saved(view)
        self.loaded.append(upload)
        self.files.move(upload, self.target, overwrite=self.overwrite)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def found(files: UploadFiles, upload: Upload) -> tuple[Path | None, bytes, str]:
    """All that a model can ask for."""
    with files.open(upload) as stream:
        return files.path(upload), stream.read(), files.digest(upload, "sha256")


def test_an_instance_that_is_out_of_date_finds_the_moved_file(shelf: Shelf) -> None:
    """It was loaded while ``on_complete`` ran, in this or another process."""
    done = shelf.site.create(10, CONTENT)
    right = (shelf.target, CONTENT, hashlib.sha256(CONTENT).hexdigest())
    (before,) = shelf.loaded
    assert before.storage != done.storage
    assert found(shelf.files, before) == right
    assert found(shelf.files, done) == right


def test_within_the_hook_the_database_is_not_asked(shelf: Shelf) -> None:
    """The hook may hold its only connection, and its instance knows where the file is."""
    shelf.site.create(10, CONTENT)
    (before,) = shelf.loaded
    shelf.in_hook.add(before.id)
    lost(shelf, before)


def test_bytes_elsewhere_have_no_path() -> None:
    """Such as in an object store."""
    site = Site()
    files = UploadFiles(site.service, 4, lambda upload_id: False)
    upload = site.create(3, b"abc")
    for status in (Status.COMPLETE, Status.FINISHING):
        assert files.path(replace(upload, status=status)) is None


def lost(shelf: Shelf, upload: Upload) -> None:
    """The bytes are not where the instance says, and nobody knows better."""
    for read in (shelf.files.open, lambda upload: shelf.files.digest(upload, "md5")):
        with pytest.raises(Unavailable):
            read(upload)
    path = shelf.files.path(upload)
    assert path is not None and shelf.site.folder in path.parents and not path.exists()


def _remove_record(shelf: Shelf, upload: Upload) -> None:
    shelf.site.service.delete(upload.id, owner=None)


def _give_the_id_to_another(shelf: Shelf, upload: Upload) -> None:
    _remove_record(shelf, upload)
    shelf.target = shelf.target.with_name("other")
    assert shelf.site.create(10, CONTENT).id == upload.id


def _lose_the_file(shelf: Shelf, upload: Upload) -> None:
    (shelf.site.folder / upload.stored_as).unlink()


@pytest.mark.parametrize("lose", [_remove_record, _give_the_id_to_another, _lose_the_file])
def test_bytes_that_are_lost_are_not_made_up(shelf: Shelf, lose: Callable[[Shelf, Upload], None]) -> None:
    """The upload is removed, its id belongs to another, or somebody has taken the file: the app is told."""
    shelf.site.chosen = "report"
    if lose is _lose_the_file:
        shelf.site.during["on_complete"] = lambda view: shelf.loaded.append(shelf.site.saved(view))
    upload = shelf.site.create(10, CONTENT)
    lose(shelf, upload)
    lost(shelf, shelf.loaded[0])


def test_a_file_may_replace_another_if_the_app_says_so(shelf: Shelf) -> None:
    """Not by itself."""
    shelf.target.parent.mkdir()
    shelf.target.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        shelf.site.create(10, CONTENT)
    shelf.overwrite = True
    shelf.site.create(10, CONTENT)
    assert shelf.target.read_bytes() == CONTENT


def _move_other(shelf: Shelf, other: Upload) -> None:
    shelf.files.move(other, shelf.target, overwrite=True)


def test_a_file_is_moved_within_the_hook_only(shelf: Shelf) -> None:
    """And only the file of the upload that the hook was called with."""
    other = shelf.site.create(3)
    with pytest.raises(RuntimeError, match="only works in on_complete"):
        shelf.files.move(shelf.site.create(10, CONTENT), shelf.target, overwrite=True)
    shelf.site.during["on_complete"] = lambda view: _move_other(shelf, other)
    with pytest.raises(RuntimeError, match="only works in on_complete"):
        shelf.site.create(10, CONTENT)


def test_an_upload_is_busy_while_somebody_has_claimed_it(shelf: Shelf) -> None:
    """As long as the claim lasts."""
    upload = shelf.site.saved(shelf.site.create(10))
    shelf.site.records.claim(upload.id, now=shelf.site.now, until=shelf.site.now + HOUR)
    claimed = shelf.site.saved(upload)
    assert (shelf.files.is_busy(upload), shelf.files.is_busy(claimed)) == (False, True)
    shelf.site.now += HOUR
    assert not shelf.files.is_busy(claimed)
