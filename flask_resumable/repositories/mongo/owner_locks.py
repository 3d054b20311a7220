"""Locks in MongoDB, which has no transactions unless it runs as a replica set.

A lock is a document in a collection of its own, named after that of the uploads. It exists while a process holds the
lock. If the process dies, the next one takes the lock over when its time has run out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any

from pymongo.errors import DuplicateKeyError

from ...errors import Unavailable
from .collection import Collection

LIFETIME = timedelta(seconds=10)
PATIENCE = 15.0  # seconds to wait for a lock; longer than a dead process keeps it
_POLL = 0.005  # seconds


class Lock:
    """A lock that this process holds, unless it was stopped for longer than that may take."""

    def __init__(self, collection: Collection, name: str) -> None:
        self._collection = collection
        self._query = {"_id": name, "by": secrets.token_hex(16)}

    def take(self) -> None:
        """Take the lock.

        :raises Unavailable: Others keep it for too long.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._take_now():
            if time.monotonic() > deadline:
                raise Unavailable
            time.sleep(_POLL)

    def _take_now(self) -> bool:
        now = datetime.now(UTC)
        document = {**self._query, "until": now + LIFETIME}

        def insert(collection: Any) -> bool:
            locks = _locks(collection)
            with suppress(DuplicateKeyError):
                locks.insert_one(document)
                return True
            taken = locks.update_one({"_id": document["_id"], "until": {"$lt": now}}, {"$set": document})
            return bool(taken.modified_count)

        return self._collection.run(insert)

    def is_held(self) -> bool:
        """Whether nobody has taken the lock over. Then whoever takes it next sees what was written until now."""
        return self._collection.run(lambda collection: _locks(collection).find_one(self._query)) is not None

    def release(self) -> None:
        with suppress(Unavailable):  # the lock runs out
            self._collection.run(lambda collection: _locks(collection).delete_one(self._query))


def _locks(collection: Any) -> Any:
    return collection.database.get_collection(
        f"{collection.name}.locks", write_concern=collection.write_concern, read_preference=collection.read_preference
    )


@contextmanager
def locked(collection: Collection, name: str) -> Iterator[Lock]:
    """Hold a lock for the context."""
    lock = Lock(collection, name)
    lock.take()
    try:
        yield lock
    finally:
        lock.release()
