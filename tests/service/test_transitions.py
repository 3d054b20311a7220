"""The table of an upload's statuses: each change in it happens, and the documentation shows all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from typing import NoReturn

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import BytesLost
from flask_resumable.errors import RemovalRefused
from flask_resumable.errors import UploadRejected
from flask_resumable.service.cleanup import Cleaner
from flask_resumable.service.cleanup import Report
from tests.transitions import Change
from tests.transitions import POSSIBLE
from tests.transitions import Watch

from .site import Site

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
NEW, ACTIVE, FINISHING, COMPLETE, DELETING, GONE = Status


def create(site: Site) -> Upload:
    """on_create agrees."""
    return site.create(3)


def create_without_hook(site: Site) -> Upload:
    """The app has no on_create."""
    named = site.named
    site.named = lambda name: None if name == "on_create" else named(name)  # type: ignore[method-assign]
    site.restarted()
    return site.create(3)


def refuse_creation(site: Site) -> None:
    """on_create does not agree."""
    site.during["on_create"] = _refuse
    with pytest.raises(UploadRejected):
        site.create(3)


def refuse_creation_with_rows(site: Site) -> None:
    """on_create does not agree, after it has committed a row that refers to the record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.repository, "remove", _keep)
        refuse_creation(site)


def delete_new(site: Site) -> None:
    """The process died in on_create, and the client gives up."""
    site.during["on_create"] = _die
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.repository, "release", lambda claim: None)
        site.create(3)
    site.now += timedelta(days=2)
    _clean(site)


def complete(site: Site) -> Upload:
    """All bytes come."""
    return site.write(create(site), 0, b"abc")


def delete_active(site: Site) -> None:
    """The client gives up."""
    site.service.delete(create(site).id, owner=None)


def refuse_file(site: Site) -> None:
    """on_complete does not agree."""
    site.during["on_complete"] = _refuse
    with pytest.raises(UploadRejected):
        complete(site)


def lose_bytes(site: Site) -> None:
    """Bytes that were stored are gone."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(BytesLost):
        patch.setattr(site.storage, "finish", _lose)
        complete(site)


def delete_complete(site: Site) -> None:
    """The client or the app removes the file."""
    site.service.delete(complete(site).id, owner=None)


def cancel(site: Site) -> Upload:
    """A client that finds uploads by key gives up."""
    upload = site.create(3, client_key="key")
    site.service.delete(upload.id, owner=None)
    return upload


def forget(site: Site) -> None:
    """Late chunks are not expected any more."""
    cancel(site)
    site.now += timedelta(hours=1)
    _clean(site)


SCENARIOS: dict[Change, Callable[[Site], object]] = {
    (None, NEW): create,
    (None, ACTIVE): create_without_hook,
    (NEW, ACTIVE): create,
    (NEW, None): refuse_creation,
    (NEW, GONE): refuse_creation_with_rows,
    (NEW, DELETING): delete_new,
    (ACTIVE, FINISHING): complete,
    (ACTIVE, DELETING): delete_active,
    (FINISHING, COMPLETE): complete,
    (FINISHING, DELETING): refuse_file,
    (FINISHING, ACTIVE): lose_bytes,
    (COMPLETE, DELETING): delete_complete,
    (DELETING, None): delete_active,
    (DELETING, GONE): cancel,
    (GONE, None): forget,
}


def test_the_page_shows_the_table() -> None:
    """docs/architecture.md has each change, and no other."""
    section = PAGE.read_text().partition("## The states of an upload")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([`–][^|]*) \| ([`–][^|]*) \|", section, re.MULTILINE)
    shown = [(before, after) for cell, to in rows for before in _named(cell) for after in _named(to)]
    assert set(shown) == POSSIBLE
    assert len(shown) == len(POSSIBLE)


def test_each_change_has_a_scenario() -> None:
    """A change without one is not possible, or is not tested."""
    assert set(SCENARIOS) == POSSIBLE


@pytest.mark.parametrize("change", SCENARIOS)
def test_each_change_happens(change: Change, watch: Watch) -> None:
    """Seen where the repository saves."""
    SCENARIOS[change](Site())
    assert change in watch.changes


def _named(cell: str) -> list[Status | None]:
    return [None] if cell.strip() == "–" else [Status(name) for name in re.findall(r"`(\w+)`", cell)]


def _clean(site: Site) -> None:
    assert [*Cleaner(site.service, batch=9).delete_expired(Report(), orphans_after=timedelta(0))]


def _refuse(upload: Any) -> NoReturn:
    raise UploadRejected(418, "no")


def _die(upload: Any) -> NoReturn:
    raise SystemExit


def _keep(*args: Any) -> NoReturn:
    raise RemovalRefused("a row refers to it")


def _lose(*args: Any) -> NoReturn:
    raise BytesLost(1)
