"""The MongoDB collection of uploads: how safely it is written, its indexes, and what becomes of its errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from typing import TypeVar

from mongoengine.connection import ConnectionFailure
from mongoengine.errors import NotUniqueError
from mongoengine.errors import OperationError
from mongoengine.queryset import QuerySet
from pymongo import ReadPreference
from pymongo import WriteConcern
from pymongo.errors import AutoReconnect
from pymongo.errors import DuplicateKeyError
from pymongo.errors import PyMongoError
from pymongo.errors import ServerSelectionTimeoutError

from ...errors import RemovalRefused
from ...errors import Unavailable
from .references import check_references

T = TypeVar("T")

PATIENCE = 10_000  # milliseconds to wait for a majority, where the connection sets no wtimeoutms of its own

logger = logging.getLogger(__package__)


class Collection:
    """Where a model's documents are. Whatever the app's connection is set to, it is written durably and read fresh."""

    def __init__(self, model: type[Any], makes_indexes: bool | None) -> None:
        self._model = model
        self._makes_indexes = makes_indexes
        self._is_ready = False
        self._lock = threading.Lock()

    def run(self, operation: Callable[[Any], T]) -> T:
        """Do one operation, once more if it was a dead connection that it met.

        :raises Unavailable: The database cannot be reached.
        """
        with _translated():
            collection = self._ready()
            try:
                return operation(collection)
            except ServerSelectionTimeoutError:
                raise
            except AutoReconnect:
                return operation(collection)

    def delete(self, query: dict[str, Any]) -> int:
        """Remove documents by MongoEngine's rules: references with a ``reverse_delete_rule`` follow."""
        return self.run(lambda collection: int(QuerySet(self._model, collection)(__raw__=query).delete()))

    def check_references(self, document_id: str) -> None:
        """Whether no ``reverse_delete_rule`` denies the removal of a document.

        :raises RemovalRefused: One does; the reason says which.
        """
        self.run(lambda found: check_references(self._model, QuerySet(self._model, found)(pk=document_id)))

    def _ready(self) -> Any:
        collection = self._found()
        if not self._is_ready:
            with self._lock:
                if not self._is_ready:
                    self._prepare(collection)
                    self._is_ready = True
        return collection

    def _found(self) -> Any:
        # Looked up each time: the app may disconnect and connect again.
        database = self._model._get_db()
        patience = database.client.write_concern.document.get("wtimeout", PATIENCE)
        return database.get_collection(
            self._model._get_collection_name(),
            write_concern=WriteConcern(w="majority", j=True, wtimeout=patience),
            read_preference=ReadPreference.PRIMARY,
        )

    def _prepare(self, collection: Any) -> None:
        name = self._model.__name__
        if not self._model._get_db().client.write_concern.acknowledged:
            logger.warning(
                "The connection of %s has w=0: its uploads are safe, other writes of the app may be lost unseen.",
                name,
            )
        makes_indexes = self._makes_indexes
        if makes_indexes is None:
            makes_indexes = self._model._meta.get("auto_create_index", True)
        if makes_indexes:
            self._model.ensure_indexes()
        else:
            unique = [index["key"] for index in _indexes(collection) if index.get("unique")]
            for key in ("client_key", "request_key"):
                if [(key, 1)] not in unique:
                    raise Unavailable(f"{name} lacks its unique index on {key!r}: call {name}.ensure_indexes() once.")


def _indexes(collection: Any) -> list[dict[str, Any]]:
    return [*collection.index_information().values()]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DuplicateKeyError:
        raise
    except (PyMongoError, ConnectionFailure) as error:
        raise Unavailable("The server cannot reach its records right now; try again later.") from error
    except OperationError as error:  # while references follow
        if isinstance(error.__context__, PyMongoError) and not isinstance(error, NotUniqueError):
            raise Unavailable("The server cannot reach its records right now; try again later.") from error
        raise RemovalRefused(str(error)) from error
