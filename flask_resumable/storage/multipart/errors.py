"""What an object store may answer, in terms that are no store's own."""

from __future__ import annotations

import logging

from ...errors import StorageRefuses

logger = logging.getLogger(__package__)


class Missing(Exception):
    """There is no such object, or no such multipart upload (any more)."""


class Taken(Exception):
    """There is such an object already."""


class PartsChanged(Exception):
    """The store has no such parts as those that were to be put together; its own words are the cause."""


class PartsRefused(StorageRefuses):
    """The store has the parts that were to be put together, and does not do it: it may want other sizes."""


def log_refusal(operation: str, key: str, error: BaseException | None) -> None:
    """Tell the operator of a refusal that does not pass by itself."""
    logger.error("The store refuses %s for %r, and asking again is of no use: %s", operation, key, error)
