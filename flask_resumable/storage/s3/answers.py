"""What the answers of the store mean, and what it means if there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import ConfigurationError
from ...errors import Unavailable

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.exceptions import ClientError
    from botocore.exceptions import EndpointConnectionError
except ImportError as error:
    raise ConfigurationError('S3Storage needs boto3: pip install "Flask-Resumable[s3]".') from error

__all__ = ["boto3", "BotoCoreError", "ClientError", "Config", "EndpointConnectionError"]

logger = logging.getLogger(__package__)

_MISSING = ("NoSuchKey", "NoSuchUpload", "404", "NotFound")  # stores do not agree on which it is
_CHANGED = ("InvalidPart", "InvalidPartOrder")
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")


class Missing(Exception):
    """There is no such object, or no such multipart upload (any more)."""


class PartsChanged(Exception):
    """The store has other parts than those that were to be put together."""


class Taken(Exception):
    """There is such an object already."""


@contextmanager
def translated(operation: str, key: str, *, is_expected: bool = False) -> Iterator[None]:
    """Turn errors of the store and of the way to it into those that the other files handle."""
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        if code in _MISSING:
            raise Missing from error
        if code in _CHANGED:
            raise PartsChanged from error
        if code in _TAKEN:
            raise Taken from error
        if not is_expected:
            logger.warning("The store refused %s for %r: %s", operation, key, error)
        raise Unavailable from error
    except (BotoCoreError, OSError) as error:
        if not is_expected:
            logger.warning("The store did not answer %s for %r: %s", operation, key, error)
        raise Unavailable from error


def code_of(error: ClientError) -> str:
    """How the store calls its refusal."""
    return str(error.response.get("Error", {}).get("Code", ""))
