"""Maps errors to responses of tus 1.0.

tus-js-client retries on 409, 423 and 5xx, and gives up on any other 4xx. So errors that may go away by themselves have
one of the former. If it gets a 4xx other than 423 for a HEAD, it forgets the upload's URL.
"""

from __future__ import annotations

from ... import errors
from ..reply import Reply
from .messages import VERSION

STATUS: dict[type[errors.ResumableError], int] = {
    errors.UnsupportedVersion: 412,
    errors.UnsupportedMediaType: 415,
    errors.LengthRequired: 411,
    errors.MethodNotAllowed: 405,
    errors.InvalidRequest: 400,
    errors.UploadNotFound: 404,
    errors.IdTaken: 409,
    errors.UploadExpired: 410,
    errors.UploadClosed: 403,
    errors.KeyReused: 422,
    errors.TokenRefused: 403,
    errors.QuotaExceeded: 429,
    errors.OffsetMismatch: 409,
    errors.LengthConflict: 400,
    errors.TooLarge: 413,
    errors.ChecksumMismatch: 460,
    errors.ServerStopping: 503,
    errors.BodyIncomplete: 409,  # a client that still reads this should resume
    errors.BytesLost: 409,
    errors.UploadLocked: 423,
    errors.ClaimLost: 423,
    errors.StorageFull: 507,
    errors.StorageRefuses: 500,  # does not go away by itself
    errors.Unavailable: 503,
}


def reply_error(error: errors.ResumableError) -> Reply:
    """Return an error as one line of plain text with its status."""
    return Reply(status=_status(error), headers=_headers(error), body=f"{error}\n")


def _status(error: errors.ResumableError) -> int:
    if isinstance(error, errors.UploadRejected):
        return error.status
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)


def _headers(error: errors.ResumableError) -> dict[str, str]:
    if isinstance(error, errors.UnsupportedVersion):
        return {"Tus-Version": VERSION}
    if isinstance(error, errors.QuotaExceeded):
        return {"Retry-After": str(errors.QUOTA_RETRY)}
    if isinstance(error, errors.OffsetMismatch):
        return {"Upload-Offset": str(error.expected)}
    if isinstance(error, errors.BodyIncomplete | errors.BytesLost):
        retry = {"Retry-After": "1"} if isinstance(error, errors.ServerStopping) else {}
        return {"Upload-Offset": str(error.offset), **retry}
    if isinstance(error, errors.MethodNotAllowed):
        return {"Allow": ", ".join(error.allowed)}
    if isinstance(error, errors.Unavailable | errors.UploadLocked) and not isinstance(error, errors.StorageRefuses):
        return {"Retry-After": "1"}
    return {}
