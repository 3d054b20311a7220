"""Opens repositories on the servers, in the tests' process or in another."""

from __future__ import annotations

import mongoengine
from sqlalchemy import text

from flask_resumable.models import MongoengineModel
from flask_resumable.repositories.mongo.repository import MongoengineRepository
from flask_resumable.repositories.sql.embedded import embedded_repository
from flask_resumable.repositories.sql.embedded import EmbeddedRepository


def open_sql(uri: str) -> EmbeddedRepository:
    """A repository in a SQL database, its table made if it is missing."""
    return embedded_repository(uri, durable=False)


def open_mongo(uri: str) -> MongoengineRepository:
    """A repository in MongoDB."""
    mongoengine.disconnect()
    mongoengine.connect(host=uri)
    return MongoengineRepository(MongoengineModel)


def empty_sql(uri: str) -> EmbeddedRepository:
    """The same without any records."""
    repository = open_sql(uri)
    with repository.engine.connect() as connection:
        connection.execute(text("DELETE FROM resumable_uploads"))
    return repository


def empty_mongo(uri: str) -> MongoengineRepository:
    """The same without any records."""
    repository = open_mongo(uri)
    MongoengineModel.objects.delete()
    return repository
