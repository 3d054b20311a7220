"""Translates the errors of boto3 into those of an object store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...core.printable import printable
from ...errors import ConfigurationError
from ...errors import StorageFull
from ...errors import StorageRefuses
from ...errors import Unavailable
from ..multipart.errors import log_refusal
from ..multipart.errors import logger
from ..multipart.errors import Missing
from ..multipart.errors import PartsChanged
from ..multipart.errors import PartsRefused
from ..multipart.errors import Taken

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.exceptions import ClientError
    from botocore.exceptions import EndpointConnectionError
    from botocore.exceptions import IncompleteReadError
    from botocore.exceptions import ParamValidationError
    from botocore.exceptions import ResponseStreamingError
except ImportError as error:
    raise ConfigurationError('S3Storage needs boto3: pip install "Flask-Resumable[s3]".') from error

__all__ = ["boto3", "BotoCoreError", "ClientError", "Config", "EndpointConnectionError"]

READ_ERRORS = (IncompleteReadError, ResponseStreamingError)  # a response has broken off
_MISSING = ("NoSuchKey", "NoSuchUpload", "404", "NotFound")  # stores use different codes
_CHANGED = ("InvalidPart", "InvalidPartOrder")
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")
_FULL = ("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded")  # some of them with a 403
# Refusals with a 4xx that are temporary: the store is busy, a request was damaged on the way, keys are being renewed,
# or a clock is wrong. All others stay until somebody changes something.
_PASSING = (
    "BadDigest",
    "ExpiredToken",
    "IncompleteBody",
    "OperationAborted",
    "RequestExpired",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TokenRefreshRequired",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
)
_PASSING_STATUS = (408, 409, 421, 425, 429)
_NEVER = (501, 505)  # the store does not support the request
_ABOUT_PARTS = ("EntityTooLarge", "EntityTooSmall", "InvalidArgument", "InvalidRequest")


@contextmanager
def asking(operation: str, key: str, *, is_expected: bool = False) -> Iterator[None]:
    """Translate the errors of a request to the store, and of the connection to it.

    A temporary error becomes ``Unavailable``, any other ``StorageRefuses``. Both are logged with the store's own words,
    unless ``is_expected``.
    """
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
        if code in _FULL or _status_of(error) == 507:
            raise StorageFull from error
        if may_pass(error):
            if not is_expected:
                logger.warning("The store refused %s for %r: %s", operation, key, printable(error))
            raise _as_logged(Unavailable()) from error
        if not is_expected:
            log_refusal(operation, key, error)
        if operation == "complete_multipart_upload" and code in _ABOUT_PARTS:
            raise _as_logged(PartsRefused()) from error
        raise _as_logged(StorageRefuses()) from error
    except ParamValidationError as error:
        log_refusal(operation, key, error)
        raise _as_logged(StorageRefuses()) from error
    except (BotoCoreError, OSError) as error:
        if not is_expected:
            logger.warning("The store did not answer %s for %r: %s", operation, key, printable(error))
        raise _as_logged(Unavailable()) from error


def _as_logged(error: Unavailable) -> Unavailable:
    """Mark an error whose cause is in the log, so that the response to it is not logged as well."""
    error.is_logged = True
    return error


def code_of(error: ClientError) -> str:
    """Return the store's code for its refusal."""
    return str(error.response.get("Error", {}).get("Code", ""))


def may_pass(error: ClientError) -> bool:
    """Whether the refusal is temporary."""
    status = _status_of(error)
    return code_of(error) in _PASSING or status in _PASSING_STATUS or (status >= 500 and status not in _NEVER)


def _status_of(error: ClientError) -> int:
    status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return status
