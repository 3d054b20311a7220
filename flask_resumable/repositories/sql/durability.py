"""Makes what is committed to an app's own SQLite file survive a power failure.

By default, SQLite commits by removing its journal and does not wait until the removal is on the disk. After a power
failure the journal is back and undoes the last transaction, although everything in it had been synced. A client would
have been told an offset that the record does not have. ``synchronous=EXTRA`` also syncs the folder of the journal. With
a write-ahead log, it is the same as ``FULL``, SQLite's default.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Engine
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from .turns import is_in_memory

logger = logging.getLogger(__package__)

_FULL, _EXTRA = 2, 3  # of PRAGMA synchronous
_IS_SET = "flask_resumable.durable"


def make_durable(engine: Engine, name: str) -> None:
    """Sync commits completely on each connection of a pool, unless the app has chosen to sync less.

    :param name: The name of the database in warnings.
    """
    if not isinstance(engine.dialect, SQLiteDialect_pysqlite) or is_in_memory(engine):
        return
    has_warned = False

    def check_out(connection: Any, record: Any, proxy: Any) -> None:
        # Not when it is opened: there may be connections already, and the app's own listeners come first.
        nonlocal has_warned
        if _IS_SET in record.info:
            return
        record.info[_IS_SET] = True
        cursor = connection.cursor()
        is_begun = getattr(connection, "in_transaction", False)  # with autocommit=False, always
        try:
            if is_begun:
                cursor.execute("COMMIT")  # nothing: SQLite changes this between transactions only
            (synchronous,) = cursor.execute("PRAGMA synchronous").fetchone()
            if synchronous == _FULL:
                cursor.execute(f"PRAGMA synchronous={_EXTRA}")
            if synchronous >= _FULL:
                cursor.execute("PRAGMA fullfsync=ON")  # otherwise a sync on macOS ends in the drive's cache
            elif not has_warned:
                has_warned = True
                logger.warning(
                    "%s: PRAGMA synchronous is %d on this app's connections, so a power failure can undo what clients "
                    "were told. Set it to FULL, or set RESUMABLE_DURABILITY = 'none' if that may happen.",
                    name,
                    synchronous,
                )
            if is_begun:
                cursor.execute("BEGIN")
        finally:
            cursor.close()

    event.listen(engine, "checkout", check_out)
