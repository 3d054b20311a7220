"""Names of files that a power failure must neither take away nor bring back, because nothing would find them then.

``proof/power`` lets the power fail for real; here, only what is synced is looked at.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from datetime import UTC
from pathlib import Path

import pytest

from flask_resumable.core.placement import Place
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.storage.local import files
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.local.chunk_folder import ChunkFolder
from flask_resumable.testing.storage import finish
from flask_resumable.testing.storage import put

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UPLOAD = Upload(id=f"{1:032x}", length=10, status=Status.ACTIVE, created_at=NOW)
Synced = Callable[[], dict[str, list[str]]]


@pytest.fixture
def synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Synced:
    """The folders that were synced since it was last asked, with what was in them at the time of the last sync."""
    found: dict[str, list[str]] = {}
    monkeypatch.setattr(files, "_TO_THE_PLATTER", None)

    def fsync(descriptor: int) -> None:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return
        for folder in (tmp_path, *tmp_path.rglob("*")):
            if folder.is_dir() and os.path.samestat(folder.stat(), os.fstat(descriptor)):
                found[str(folder.relative_to(tmp_path))] = sorted(os.listdir(descriptor))

    def told() -> dict[str, list[str]]:
        seen = dict(found)
        found.clear()
        return seen

    monkeypatch.setattr(os, "fsync", fsync)
    return told


def _finished(storage: LocalStorage, folder: str = "") -> Upload:
    made = replace(UPLOAD, storage=Place(folder=folder).note({}))
    return finish(storage, put(storage, made, b"0123456789"))


@pytest.mark.parametrize("durability", ["data", "full"])
def test_a_finished_file_that_was_removed_stays_removed(tmp_path: Path, synced: Synced, durability: str) -> None:
    """Its record goes next. If the file were back after that, it would stay for good."""
    storage = LocalStorage(tmp_path / "uploads", durability=durability)
    upload = _finished(storage)
    synced()
    storage.delete(upload)
    assert synced()["uploads"] == [".partial"]


def test_nothing_is_synced_if_it_need_not_last(tmp_path: Path, synced: Synced) -> None:
    """That is what ``"none"`` is for."""
    storage = LocalStorage(tmp_path / "uploads", durability="none", chunks=ChunkFolder(tmp_path / "chunks"))
    storage.delete(_finished(storage))
    assert synced() == {}


def test_a_file_that_was_moved_loses_its_first_name_before_the_note_of_it(tmp_path: Path, synced: Synced) -> None:
    """Without the note, nobody would look for that name."""
    storage = LocalStorage(tmp_path / "uploads")
    upload = _finished(storage)
    moved = replace(upload, storage=storage.move(upload, "kept/report.csv", overwrite=False))
    synced()
    storage.settle_moves(moved)
    assert synced()["uploads"] == [".partial", "kept"]
    assert list((tmp_path / "uploads" / ".partial").iterdir()) == []


def test_new_folders_are_synced_into_those_above(tmp_path: Path, synced: Synced) -> None:
    """A folder whose own name is lost takes its files along."""
    _finished(LocalStorage(tmp_path / "srv" / "uploads", durability="data"), "2026/january")
    assert synced() == {
        ".": ["srv"],
        "srv": ["uploads"],
        "srv/uploads": [".partial", "2026"],
        "srv/uploads/2026": ["january"],
        "srv/uploads/2026/january": [UPLOAD.id],
    }


def test_a_chunk_in_a_folder_is_there_under_its_name(tmp_path: Path, synced: Synced) -> None:
    """The client is told that the server has it."""
    storage = LocalStorage(tmp_path / "uploads", chunks=ChunkFolder(tmp_path / "chunks"))
    upload = replace(UPLOAD, client_key="a key", storage=storage.layout(5, 2))
    for number, content in ((1, b"01234"), (2, b"56789")):
        with storage.placing(upload, number, 5 * number - 5) as slot:
            slot.fill(io.BytesIO(content))
        assert f"{number}.chunk" in synced()[f"chunks/{UPLOAD.id}"]
    finish(storage, upload)
    assert synced()["chunks"] == []
