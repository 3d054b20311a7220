"""Maps errors to status codes for flow.js and resumable.js.

flow.js gives up the file on 404, 413, 415, 500 and 501. resumable.js gives it up on 400, 401, 403, 404, 409, 415, 500
and 501, and retries a 413 up to a hundred times. A temporary error must be none of these, so it is 503 or 507.
"""

from __future__ import annotations

import json

from ... import errors
from ..reply import Reply

STATUS: dict[type[errors.ResumableError], int] = {
    errors.UnsupportedMediaType: 415,
    errors.LengthRequired: 411,
    errors.MethodNotAllowed: 405,
    errors.InvalidRequest: 400,
    errors.UploadNotFound: 404,
    errors.IdTaken: 409,
    errors.TokenRefused: 403,
    errors.QuotaExceeded: 429,
    errors.TooLarge: 413,
    errors.ChecksumMismatch: 460,
    errors.BodyIncomplete: 503,  # the network's fault, or the server stops
    errors.UploadExpired: 503,  # the next try creates a new upload
    errors.UploadClosed: 503,
    errors.BytesLost: 503,
    errors.UploadLocked: 503,
    errors.ClaimLost: 503,
    errors.StorageFull: 507,
    errors.StorageRefuses: 500,  # not temporary
    errors.Unavailable: 503,
}


def reply_error(error: errors.ResumableError, *, dialect: str = "flow", permanent: bool = False) -> Reply:
    """Return an error as JSON.

    :param dialect: The client. resumable.js gets a 400 in place of a 403 for a token, a 413 and a 429, because its
        releases retry those a hundred times at once.
    :param permanent: Whether errors that retries cannot fix become a 415, so that both clients give up.
    """
    status = _status(error)
    if dialect == "resumable" and (status == 413 or isinstance(error, errors.QuotaExceeded | errors.TokenRefused)):
        status = 400
    if (status in (400, 413) or isinstance(error, errors.TokenRefused)) and permanent:
        status = 415
    headers = {"Allow": ", ".join(error.allowed)} if isinstance(error, errors.MethodNotAllowed) else {}
    if status == 503:
        headers["Retry-After"] = "1"
    if isinstance(error, errors.QuotaExceeded):
        headers["Retry-After"] = str(errors.QUOTA_RETRY)
    return Reply(status=status, headers=headers, body=message(str(error)))


def message(text: str) -> str:
    """Return the body of an error response."""
    return json.dumps({"error": text}) + "\n"


def _status(error: errors.ResumableError) -> int:
    if isinstance(error, errors.UploadRejected):
        return error.status
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
