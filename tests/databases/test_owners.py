"""Whatever type the app's user ids have, their owner finds an upload again; what cannot be kept says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import mongoengine
import pytest
from flask import Flask
from flask import request
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.models import MongoengineModel
from flask_resumable.models import SQLAlchemyModel
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample

FILE = Sample(b"hello", 5)
SERVERS = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("postgresql", "mariadb", "mongo")]


class Role(IntEnum):
    """Users by number."""

    ADMIN = 7


OWNERS: dict[str, tuple[Any, str]] = {
    "int": (7, "7"),
    "zero": (0, "0"),
    "enum": (Role.ADMIN, "7"),
    "uuid": (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "longest": ("ü" * 255, "ü" * 255),
    "spaces": ("alice ", "alice "),
    "empty": ("", ""),
}
WRONG: dict[str, Any] = {
    "bool": True,
    "bytes": b"alice",
    "object": object(),
    "too long": "x" * 256,
    "nul": "al\0ice",
    "surrogate": "\ud800",
}


class Owned(FlaskResumable):
    """Uploads belong to whom the header names, by one of the values above."""

    def current_owner(self) -> Any:
        return ({name: owner for name, (owner, _) in OWNERS.items()} | WRONG).get(request.headers.get("X-Owner", ""))


class OwnedLater(FlaskResumable):
    """The same, and it has to be awaited."""

    async def current_owner(self) -> Any:
        return Owned.current_owner(self)  # type: ignore[arg-type]


Start = Callable[[type[FlaskResumable]], Tus]


@pytest.fixture(params=["embedded", "sqlite", *SERVERS])
def start(app: Flask, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Serve the app on each kind of database, as a server would: a bug is answered with 500."""
    app.config.update(TESTING=False, FLOW_ENABLED=True)
    wiring: dict[str, Any] = {}
    if request.param == "mongo":
        mongoengine.connect(host=request.getfixturevalue("mongo").uri)
        MongoengineModel.drop_collection()
        wiring = {"model": MongoengineModel}
    elif request.param != "embedded":
        sqlite = f"sqlite:///{tmp_path / 'app.sqlite'}"
        uri = sqlite if request.param == "sqlite" else request.getfixturevalue(request.param).uri
        app.config["SQLALCHEMY_DATABASE_URI"] = uri
        wiring = {"model": SQLAlchemyModel, "db": SQLAlchemy(app)}

    def serve(extension: type[FlaskResumable]) -> Tus:
        extension(app, **wiring)
        return Tus(app.test_client())

    yield serve
    if "db" in wiring:
        with app.app_context():
            wiring["db"].session.remove()
            wiring["db"].drop_all()
            wiring["db"].engine.dispose()
    mongoengine.disconnect_all()


@pytest.mark.parametrize("extension", [Owned, OwnedLater])
def test_owners_find_what_is_theirs(start: Start, app: Flask, extension: type[FlaskResumable]) -> None:
    """What they created is there for them on every later request, and for nobody else; hooks read the same text."""
    tus = start(extension)
    for name, (_, text) in OWNERS.items():
        mine = tus.with_headers(X_Owner=name)
        url = mine.new(5)
        assert mine.patch(url, 0, b"hello").status_code == 204
        assert mine.offset(url) == 5
        assert tus.head(url).status_code == 404
        assert app.extensions["resumable"].repository.get(url.rpartition("/")[2]).owner == text
        flow = Flow(app.test_client(), headers={"X-Owner": name})
        assert flow.octet(FILE, 1).get_json()["complete"]
        assert flow.test(FILE, 1).status_code == 200
        assert Flow(app.test_client()).test(FILE, 1).status_code == 204


@pytest.mark.everywhere
@pytest.mark.parametrize("wrong", WRONG)
def test_an_owner_that_cannot_be_kept_is_a_logged_error(
    start: Start, app: Flask, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    """Nothing is created, the client learns nothing, and the log names the method and the type."""
    tus = start(Owned).with_headers(X_Owner=wrong)
    repository = app.extensions["resumable"].repository
    before = repository.list(limit=99)
    with caplog.at_level(logging.ERROR):
        answer = tus.create(5)
        chunk = Flow(app.test_client(), headers={"X-Owner": wrong}).octet(FILE, 1)
    assert (answer.status_code, chunk.status_code) == (500, 503)
    assert "current_owner" not in answer.text + chunk.text
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert len(errors) == 2
    assert all(isinstance(error, TypeError | ValueError) and "current_owner()" in str(error) for error in errors)
    assert repository.list(limit=99) == before
