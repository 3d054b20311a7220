"""Files that ``on_complete`` moves, while a database fails or others remove the upload: no copy is lost or left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from typing import NoReturn

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import Unavailable
from flask_resumable.service.moving import move

from .disk import DiskSite
from .site import HOUR

CONTENT = b"0123456789"


class Site(DiskSite):
    """An app that moves its files."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.chosen = "report"
        self.target = home / "kept" / "file"
        self.then: Callable[[Upload], object] = lambda upload: None  # after the move, in the hook
        self.during["on_complete"] = self._complete

    def _complete(self, view: Any) -> None:
        upload = self.saved(view)
        move(upload, self.target, overwrite=False)
        self.then(upload)

    def upload(self) -> Upload:
        return self.create(len(CONTENT), CONTENT)

    def after_saving(self, act: Callable[[Upload], object]) -> None:
        """Something happens when the record has just been saved with the new place."""
        save = self.records.save_with_hook

        def saving(*args: Any, **options: Any) -> Upload:
            saved = save(*args, **options)
            if saved.status is Status.COMPLETE:
                self.records.save_with_hook = save  # type: ignore[method-assign]
                act(saved)
            return saved

        self.records.save_with_hook = saving  # type: ignore[method-assign]

    def take_record(self, upload: Upload) -> None:
        """Another request removes the record, and has removed the bytes where it knew them to be before the move."""
        change = replace(self.saved(upload), status=Status.DELETING)
        self.records._records[upload.id].upload = change
        _, claim = self.records.claim(upload.id, now=datetime.max.replace(tzinfo=self.now.tzinfo), until=self.now)
        self.records.remove(change, claim)

    def places(self) -> list[str]:
        """Where finished files are."""
        paths = [path for path in self.folder.parent.rglob("*") if path.is_file() and ".partial" not in path.parts]
        return sorted(path.name for path in paths)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*args: Any, **options: Any) -> NoReturn:
        raise error

    return fail


@pytest.fixture
def watch() -> None:
    """Records are taken away here as no service would do it."""


def test_a_moved_file_of_a_removed_upload_is_removed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Another request has removed it after it was saved, and perhaps given its id to another file."""
    site.after_saving(site.take_record)
    site.upload()
    assert site.places() == []

    def replace_it(upload: Upload) -> None:
        site.take_record(upload)
        site.target = site.target.with_name("other")
        site.upload()

    site.after_saving(replace_it)
    site.upload()
    assert site.places() == ["other"]
    site.service.delete("report", owner=None)
    site.after_saving(site.take_record)
    site.disk.delete = raising(Unavailable("down"))  # type: ignore[method-assign]
    site.upload()
    assert "Upload report was removed, but some of its bytes were not." in caplog.messages


def test_a_copy_that_cannot_be_removed_is_told(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The upload is complete; the cleaner removes the copy later."""
    site.disk.settle_moves = raising(Unavailable("down"))  # type: ignore[method-assign]
    assert site.upload().status is Status.COMPLETE
    assert "Upload report exists in two places; delete_expired removes the extra copy." in caplog.messages
    assert site.target.read_bytes() == CONTENT


def test_a_save_that_has_succeeded_without_an_answer_is_found_out(site: Site) -> None:
    """The connection to the database was lost; the file is at its new place only."""
    site.after_saving(raising(Unavailable("down")))
    with pytest.raises(Unavailable):
        site.upload()
    assert site.places() == ["file"]
    found = site.service.look("report", owner=None)
    assert found.status is Status.COMPLETE and site.disk.path(found) == site.target


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_a_hook_that_fails_after_a_move(site: Site, is_taken_over: bool) -> None:
    """The copy is removed, unless another request has taken over: its hook may have moved it to the same place."""

    def fail(upload: Upload) -> None:
        if is_taken_over:
            site.now += HOUR
            site.records.claim("report", now=site.now, until=site.now + HOUR, by="another")
        raise ZeroDivisionError

    site.then = fail
    with pytest.raises(ZeroDivisionError):
        site.upload()
    assert ("file" in site.places()) is is_taken_over
    assert len(site.places()) == 1 + is_taken_over


def test_a_hook_that_fails_when_its_upload_is_gone_touches_no_other(site: Site) -> None:
    """Its id belongs to another file by then."""

    def fail(upload: Upload) -> None:
        site.take_record(upload)
        site.target, site.then = site.target.with_name("other"), lambda upload: None
        site.upload()
        raise ZeroDivisionError

    site.then = fail
    with pytest.raises(ZeroDivisionError):
        site.upload()
    assert site.target.read_bytes() == CONTENT
    assert site.disk.path(site.records.get("report")) == site.target


def test_a_database_that_is_away_when_the_hook_has_failed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The error of the hook is what is told; both copies stay until the hook is called again."""

    def fail(upload: Upload) -> None:
        site.records.get = raising(Unavailable("down"))  # type: ignore[method-assign]
        raise ZeroDivisionError

    site.then = fail
    with pytest.raises(ZeroDivisionError):
        site.upload()
    assert "Upload report exists in two places until its on_complete is called again." in caplog.messages
    assert len(site.places()) == 2


def test_what_the_storage_said_about_an_earlier_place_is_forgotten(site: Site) -> None:
    """When the file is moved again."""
    moving, notes = site.disk.move, iter([{"first": 1}, {"second": 2}])
    site.disk.move = lambda *args, **options: {**moving(*args, **options), **next(notes)}  # type: ignore[method-assign]
    site.then = lambda upload: move(upload, site.target.with_name("last"), overwrite=False)
    stored = site.upload().storage
    assert stored["second"] == 2 and "first" not in stored


@pytest.mark.parametrize("is_claimed", [False, True])
def test_a_hook_that_has_committed_an_earlier_place(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_claimed: bool
) -> None:
    """The storage moves the file from there, over what is at the last place; then the record says so."""
    asked: list[tuple[object, object, bool]] = []
    moving = site.disk.move

    def noting(upload: Upload, target: Any, *, overwrite: bool) -> Any:
        asked.append((upload.storage.get("path"), target, overwrite))
        return moving(upload, target, overwrite=overwrite)

    def commit(saved: Upload) -> None:
        current = site.saved(saved)
        site.records._records["report"].upload = replace(current, storage={**current.storage, "path": "earlier"})
        if is_claimed:
            site.records.claim("report", now=site.now, until=site.now + HOUR, by="another")

    monkeypatch.setattr(site.disk, "move", noting)
    site.after_saving(commit)
    site.upload()
    assert asked[-1] == ("earlier", site.target, True)
    assert (site.records.get("report").storage["path"] == str(site.target)) is not is_claimed
    told = "Upload report exists in two places; delete_expired removes the extra copy."
    assert (told in caplog.messages) is is_claimed
