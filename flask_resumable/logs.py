"""Writes a line to the log when an upload ends: it is complete, or it was removed.

The logger is ``flask_resumable.uploads``. Each line has the same facts as attributes of the log record, for formatters
that write JSON or the like.
"""

from __future__ import annotations

import logging
from typing import Any

from .core.placement import storage_of
from .core.upload import Upload
from .interfaces.observer import Cleanup
from .interfaces.observer import Observer
from .interfaces.observer import Removal

logger = logging.getLogger("flask_resumable.uploads")


class UploadLog(Observer):
    """Logs the ends of uploads at ``INFO``, and those of parts (tus concatenation) at ``DEBUG``.

    :param storage: The name to log for the default storage.
    """

    def __init__(self, storage: str) -> None:
        self._storage = storage

    def completed(self, upload: Upload) -> None:
        self._log(upload, "complete")

    def removed(self, upload: Upload, why: Removal) -> None:
        self._log(upload, why.value)

    def cleaned(self, run: Cleanup) -> None:
        if run.removed or run.orphans or run.failed:
            logger.info(
                "Cleaned up: %d uploads and %d orphans removed, %d bytes freed, %d failed, in %.3f s.",
                *(run.removed, run.orphans, run.bytes, run.failed, run.seconds),
            )

    def _log(self, upload: Upload, event: str) -> None:
        level = logging.DEBUG if upload.is_partial else logging.INFO
        if logger.isEnabledFor(level):
            facts = self._facts(upload, event)
            logger.log(level, _LINE, facts, extra={f"upload_{name}": value for name, value in facts.items()})

    def _facts(self, upload: Upload, event: str) -> dict[str, Any]:
        seconds = max(0.0, ((upload.updated_at or upload.created_at) - upload.created_at).total_seconds())
        received = upload.received.total
        return {
            "id": upload.id,
            "event": event,
            "received": received,
            "size": upload.length,
            "seconds": seconds,
            "rate": received / seconds if seconds else None,
            "requests": upload.request_count,
            "protocol": upload.protocol,
            "storage": storage_of(upload.storage) or self._storage,
            "owner": upload.owner,
        }


# %r escapes what could break a line or command a terminal. Only the owner is not the package's own.
_LINE = (
    "Upload %(id)s %(event)s: received=%(received)d size=%(size)s seconds=%(seconds).3f requests=%(requests)d "
    "protocol=%(protocol)s storage=%(storage)s owner=%(owner)r"
)
