"""The errors of object stores, independent of a particular store."""

from __future__ import annotations

import logging

from ...core.printable import printable
from ...errors import StorageRefuses

logger = logging.getLogger(__package__)


class Missing(Exception):
    """The object or the multipart upload does not exist, or no longer."""


class Taken(Exception):
    """The object already exists."""


class PartsChanged(Exception):
    """The store does not have the parts that were to be joined. The cause is the store's own error."""


class PartsRefused(StorageRefuses):
    """The store has the parts but refuses to join them. It may require other sizes."""


def log_refusal(operation: str, key: str, error: BaseException | None) -> None:
    """Log a refusal that is not temporary, for the operator.

    :param operation: What the store was asked to do, in its own terms.
    :param error: The store's own error.
    """
    logger.error("The store refuses %s for %r, and retrying does not help: %s", operation, key, printable(error))
