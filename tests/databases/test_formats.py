"""Records of a later version, beside those of this one: while nodes are upgraded, and after going back."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from flask_resumable import FlaskResumable
from flask_resumable.core.concat import Concat
from flask_resumable.core.selection import Selection
from flask_resumable.core.upload import Status
from flask_resumable.errors import Unavailable
from flask_resumable.models import MongoengineModel
from flask_resumable.models.record import FORMAT
from flask_resumable.repositories.mongo.repository import MongoengineRepository
from flask_resumable.testing import ManualClock
from flask_resumable.testing import UploadClient
from flask_resumable.testing.samples import an_upload
from flask_resumable.testing.samples import id_of
from flask_resumable.testing.samples import LATER
from flask_resumable.testing.samples import NOW
from flask_resumable.testing.samples import SOON

from .kinds import wiring
from .live_app import Database
from .openers import empty_mongo
from .openers import empty_sql
from .servers import MongoWire

Repository = Any  # of SQL or MongoDB


def make_later(repository: Repository, number: int) -> None:
    """Let a later version have written a record."""
    if isinstance(repository, MongoengineRepository):
        collection = MongoengineModel._get_collection()
        collection.update_one({"_id": id_of(number)}, {"$set": {"format": FORMAT + 1}})
        return
    with repository.engine.begin() as connection:
        statement = text("UPDATE resumable_uploads SET format = :format WHERE id = :id")
        connection.execute(statement, {"format": FORMAT + 1, "id": id_of(number)})


@pytest.fixture
def repository(database_or_file: Database) -> Iterator[Repository]:
    """An empty one on each database."""
    is_mongo = isinstance(database_or_file, MongoWire)
    repository = (empty_mongo if is_mongo else empty_sql)(database_or_file.uri)
    yield repository
    if hasattr(repository, "dispose"):
        repository.dispose()


def test_lists_leave_later_records_out(repository: Repository) -> None:
    """They find all the others, however long the pages are. Nobody takes the bytes of later ones for orphans."""
    waiting = Concat.from_header(f"final;/files/{id_of(9)}")
    for number in range(1, 7):
        changes: dict[str, Any] = {"status": Status.FINISHING} if number > 4 else {"expires_at": NOW}
        repository.add(an_upload(number, concat=waiting if number < 3 else None, **changes), until=None)
    for number in (1, 3, 5):
        make_later(repository, number)
    later = NOW + timedelta(days=1)
    found: list[Callable[[], Any]] = [
        partial(repository.list, limit=9),
        partial(repository.list, limit=2, after=id_of(1)),
        partial(repository.instances, Selection(), limit=9),
        partial(repository.expired, later, limit=1),
        partial(repository.pending, limit=9),
        partial(repository.awaiting, id_of(9)),
    ]
    wanted = [[2, 4, 6], [2, 4], [2, 4, 6], [2], [2, 6], [2]]
    assert [[upload.id for upload in find()] for find in found] == [[*map(id_of, numbers)] for numbers in wanted]
    everything = [id_of(number) for number in range(1, 7)]
    assert repository.ids_with_unfinished_bytes(everything) == set(everything)


def test_nobody_claims_a_later_record(repository: Repository) -> None:
    """The record stays as it was, so that no writer of the later version is stopped."""
    repository.add(an_upload(1), until=None)
    make_later(repository, 1)
    for claim in (
        partial(repository.claim, id_of(1), now=NOW, until=SOON),
        partial(repository.claim_free, id_of(1), owner=None, now=NOW, until=SOON),
    ):
        try:
            assert claim() is None
        except Unavailable as error:
            assert f"format {FORMAT + 1}" in str(error)
    with pytest.raises(Unavailable, match="upgrade flask_resumable"):
        repository.get(id_of(1))
    repository.add(an_upload(2), until=None)
    if isinstance(repository, MongoengineRepository):
        rows = [(row["fence"], row.get("claimed_until")) for row in MongoengineModel._get_collection().find()]
    else:
        with repository.engine.connect() as connection:
            rows = [*connection.execute(text("SELECT fence, claimed_until FROM resumable_uploads"))]
    assert rows[0] == rows[1]  # as one that nobody has ever claimed


@pytest.mark.parametrize("kind", ["embedded", "ready-made", "declarative", "sessionmaker"])
def test_pages_of_the_app_leave_a_later_record_out(kind: str, app: Flask, tmp_path: Path) -> None:
    """Whatever keeps the records."""
    with wiring(kind, app, tmp_path, None) as wired:
        resumable = FlaskResumable(app, **wired)
        uploads = [UploadClient(app.test_client()).create(10) for _ in range(2)]
        repository = app.extensions["resumable"].repository
        with app.app_context(), repository.engine.begin() as connection:
            table = repository.model.__table__
            connection.execute(table.update().where(table.c.id == uploads[0].id).values(format=FORMAT + 1))
        with app.app_context():
            assert [upload.id for upload in resumable.uploads()] == [uploads[1].id]


def test_commands_work_beside_a_later_record(app: Flask, tmp_path: Path) -> None:
    """They clean up what they know, and leave the other upload and its bytes alone; its client gets a 503."""
    clock = ManualClock(LATER)
    app.config["RESUMABLE_DATABASE_URI"] = f"sqlite:///{tmp_path / 'state.sqlite'}"
    resumable = FlaskResumable(app, now=clock)
    client = UploadClient(app.test_client())
    uploads = [client.create(10) for _ in range(2)]
    for sent in uploads:
        client.append(sent.url, b"hello", offset=0)
    later, known = uploads
    repository = app.extensions["resumable"].repository
    with closing(repository.engine.raw_connection()) as connection:
        connection.cursor().execute("UPDATE resumable_uploads SET format = 9 WHERE id = ?", [later.id])
        connection.commit()
    assert client.append(later.url, b"world", offset=5).status_code == 503
    runner = app.test_cli_runner()
    clock.advance(days=30)
    outputs = {
        name: runner.invoke(args=["tus", *name.split()]) for name in ("list", "stats", "verify", "delete_expired")
    }
    assert {name: result.exit_code for name, result in outputs.items()} == dict.fromkeys(outputs, 0)
    assert known.id in outputs["list"].output and later.id not in outputs["list"].output
    assert "Uploads removed: 1, orphans removed: 0" in outputs["delete_expired"].output
    with app.app_context():
        assert list(resumable.uploads()) == []
    assert [path.stem for path in Path(app.instance_path, "uploads", ".partial").glob("*.part")] == [later.id]
