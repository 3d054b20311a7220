"""However many records there are, those that a request needs are found by an index, on every database."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy import event
from sqlalchemy import text

from flask_resumable.core.selection import Selection
from flask_resumable.core.upload import Status
from flask_resumable.errors import UploadNotFound
from flask_resumable.models import MongoengineModel
from flask_resumable.repositories.sql.database import Pooled
from flask_resumable.repositories.sql.embedded import EmbeddedRepository
from flask_resumable.repositories.sql.embedded import EmbeddedUpload
from flask_resumable.repositories.sql.engines import LazyEngine
from flask_resumable.testing.samples import an_upload
from flask_resumable.testing.samples import id_of
from flask_resumable.testing.samples import LATER
from flask_resumable.testing.samples import NOW
from flask_resumable.testing.samples import SOON

from .openers import empty_mongo
from .openers import empty_sql
from .servers import DatabaseServer

RECORDS = 3000  # enough for a planner to prefer an index
DUE = 20


def instances(repository: EmbeddedRepository, **wanted: Any) -> object:
    """A page in the middle."""
    return repository.instances(Selection(leaving=False, parts=False, **wanted), limit=100, after=id_of(7))


QUESTIONS: dict[str, Callable[[EmbeddedRepository], object]] = {
    "HEAD": lambda repository: repository.get(id_of(77)),
    "a chunk": lambda repository: repository.find(id_of(77)),
    "a repeated POST": lambda repository: repository.find_request(id_of(77)),
    "PATCH": lambda repository: repository.claim(id_of(77), now=NOW, until=SOON),
    "delete_expired": lambda repository: repository.expired(SOON, limit=100),
    "uploads of a user": lambda repository: instances(repository, owner="7"),
    "finished uploads": lambda repository: instances(repository, status=Status.COMPLETE),
    "all uploads": lambda repository: instances(repository),
    "a look for messages": lambda repository: repository.messages(),
}


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def repository(request: pytest.FixtureRequest) -> Iterator[EmbeddedRepository]:
    """Many records, few of which have expired."""
    found = request.getfixturevalue(request.param)
    emptied = empty_sql(found if isinstance(found, str) else found.uri)
    # Through SQLAlchemy, whose events tell what is asked; the statements are the same.
    repository = EmbeddedRepository(EmbeddedUpload, Pooled(LazyEngine(lambda: emptied.engine)))
    say = repository._statements
    first = _values(repository)
    rows = [
        {**first, **dict.fromkeys(("new_id", "new_client_key", "new_request_key"), id_of(n))}
        | {"new_removable_at": NOW if n < DUE else LATER}
        for n in range(RECORDS)
    ]
    with repository.engine.begin() as connection:
        connection.execute(say.insert, rows)
        connection.execute(text("ANALYZE TABLE resumable_uploads" if request.param == "mariadb" else "ANALYZE"))
    yield repository
    with repository.engine.begin() as connection:
        connection.execute(text("DELETE FROM resumable_uploads"))
    emptied.dispose()


def _values(repository: EmbeddedRepository) -> dict[str, Any]:
    """What is inserted for a new upload."""
    said: list[dict[str, Any]] = []

    def listen(connection: Connection, clause: Any, many: Any, parameters: Any, options: Any) -> None:
        said.append(dict(parameters))

    event.listen(repository.engine, "before_execute", listen)
    repository.add(an_upload(RECORDS + 1), until=None)
    event.remove(repository.engine, "before_execute", listen)
    return said[-1]


@pytest.mark.everywhere
@pytest.mark.parametrize("question", QUESTIONS)
def test_an_index_finds_it(question: str, repository: EmbeddedRepository) -> None:
    """No statement reads the whole table."""
    asked: list[tuple[str, Any]] = []

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        asked.append((statement, parameters))

    event.listen(repository.engine, "before_cursor_execute", listen)
    try:
        QUESTIONS[question](repository)
    finally:
        event.remove(repository.engine, "before_cursor_execute", listen)
    assert asked
    for statement, parameters in asked:
        plan = _plan(repository, statement, parameters)
        assert _uses_index(repository.engine.dialect.name, plan), (statement, plan)


def _plan(repository: EmbeddedRepository, statement: str, parameters: Any) -> list[Any]:
    explain = "EXPLAIN QUERY PLAN" if repository.engine.dialect.name == "sqlite" else "EXPLAIN"
    with repository.engine.connect() as connection:
        return [*connection.exec_driver_sql(f"{explain} {statement}", parameters)]


def _uses_index(dialect: str, plan: list[Any]) -> bool:
    if dialect in ("mysql", "mariadb"):
        return all(row._mapping["key"] is not None for row in plan)
    words = " ".join(map(str, plan))
    return ("SEARCH" in words and "SCAN" not in words) if dialect == "sqlite" else "Index" in words


def test_mongodb_has_an_index_for_each(mongo: DatabaseServer) -> None:
    """By id, by key, by request, and by the time of removal; both keys are unique."""
    repository = empty_mongo(mongo.uri)
    with pytest.raises(UploadNotFound):  # the first use makes them
        repository.find(id_of(1))
    repository.add(replace(an_upload(), client_key=id_of(1)), until=None)
    indexes = MongoengineModel._get_collection().index_information().values()
    leading = {index["key"][0][0]: bool(index.get("unique")) for index in indexes}
    assert leading["client_key"] and leading["request_key"] and {"_id", "removable_at"} <= leading.keys()
