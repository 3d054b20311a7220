"""What earlier versions have left in a database and on the disk is finished by this one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from sqlalchemy import create_engine
from sqlalchemy import inspect
from sqlalchemy import text

from flask_resumable.repositories.sql.embedded import EmbeddedUpload
from tests.upgrade import frozen

VERSIONS = sorted(path.name for path in frozen.HERE.iterdir() if path.name[:1].isdigit())
SERVERS = {"postgresql": "postgresql", "mariadb": "mariadb", "mongodb": "mongo"}  # fixtures
KINDS = [
    pytest.param(kind, marks=pytest.mark.xdist_group(SERVERS[kind])) if kind in SERVERS else kind
    for kind in frozen.KINDS
]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """What keeps the records."""
    return str(request.param)


@pytest.fixture
def uri(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where they are. Nothing of them is left for other tests."""
    if kind not in SERVERS:
        yield frozen.sqlite_in(tmp_path)
        return
    uri = request.getfixturevalue(SERVERS[kind]).uri
    yield uri
    if kind == "mongodb":
        with pymongo.MongoClient[Any](uri) as client:
            client.get_default_database().drop_collection("upload")
    else:
        engine = create_engine(uri)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS upload"))
        engine.dispose()


@pytest.mark.parametrize("version", VERSIONS)
def test_uploads_of_an_earlier_version_are_finished(version: str, kind: str, uri: str, tmp_path: Path) -> None:
    """In every state, each by its protocol, with the columns of the app; afterwards nothing unfinished is left."""
    frozen.thaw(version, kind, uri, tmp_path)
    assert frozen.run("finish", kind, uri, tmp_path) == "finished 16\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_column_that_is_new_can_be_added(version: str, tmp_path: Path) -> None:
    """Rows that are there, and those that old nodes insert, have no value for it."""
    frozen.thaw(version, "embedded", frozen.sqlite_in(tmp_path), tmp_path)
    engine = create_engine(frozen.sqlite_in(tmp_path))
    known = {column["name"] for column in inspect(engine).get_columns("resumable_uploads")}
    engine.dispose()
    columns = EmbeddedUpload.__table__.columns
    assert known <= {column.name for column in columns}  # old nodes use them
    new = [column for column in columns if column.name not in known]
    assert [column.name for column in new if not (column.nullable or column.server_default)] == []
