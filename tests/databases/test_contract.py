"""Every repository meets the contract."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from functools import partial

import mongoengine
import pytest

from flask_resumable.interfaces import StateRepository
from flask_resumable.repositories.memory import MemoryRepository
from flask_resumable.repositories.mongo.repository import MongoengineRepository
from flask_resumable.repositories.sql.embedded import EmbeddedRepository
from flask_resumable.testing import RepositoryContract
from flask_resumable.testing import SharedRepositoryContract

from .openers import empty_mongo
from .openers import empty_sql
from .openers import open_mongo
from .openers import open_sql
from .servers import DatabaseServer


class TestMemory(RepositoryContract):
    """In one process's memory."""

    @pytest.fixture
    def repository(self) -> MemoryRepository:
        return MemoryRepository()


class SQLContract(SharedRepositoryContract):
    """In a SQL database, at ``uri``."""

    @pytest.fixture
    def opener(self, uri: str) -> Callable[[], StateRepository]:
        return partial(open_sql, uri)

    @pytest.fixture
    def repository(self, uri: str) -> Iterator[EmbeddedRepository]:
        repository = empty_sql(uri)
        yield repository
        repository.dispose()


class TestSQLite(SQLContract):
    """In a file."""

    @pytest.fixture
    def uri(self, sqlite: str) -> str:
        return sqlite


@pytest.mark.xdist_group("postgresql")
class TestPostgreSQL(SQLContract):
    """On a PostgreSQL server."""

    @pytest.fixture
    def uri(self, postgresql: DatabaseServer) -> str:
        return postgresql.uri


@pytest.mark.xdist_group("mariadb")
class TestMariaDB(SQLContract):
    """On a MariaDB server."""

    @pytest.fixture
    def uri(self, mariadb: DatabaseServer) -> str:
        return mariadb.uri


@pytest.mark.xdist_group("mongo")
class TestMongo(SharedRepositoryContract):
    """On a server that speaks MongoDB's protocol."""

    @pytest.fixture
    def opener(self, mongo: DatabaseServer) -> Callable[[], StateRepository]:
        return partial(open_mongo, mongo.uri)

    @pytest.fixture
    def repository(self, mongo: DatabaseServer) -> Iterator[MongoengineRepository]:
        yield empty_mongo(mongo.uri)
        mongoengine.disconnect()
