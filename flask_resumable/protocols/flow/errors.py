"""The one table that says how an error looks to flow.js and resumable.js.

flow.js gives up the file on 404, 413, 415, 500 and 501; resumable.js on 400, 401, 403, 404, 409, 415, 500 and 501, and
sends again on 413, up to a hundred times. What may pass by itself is none of these: 503 or 507.
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
    errors.TooLarge: 413,
    errors.ChecksumMismatch: 460,
    errors.BodyIncomplete: 503,  # the network's fault
    errors.UploadExpired: 503,  # the next try begins anew
    errors.UploadClosed: 503,
    errors.BytesLost: 503,
    errors.UploadLocked: 503,
    errors.ClaimLost: 503,
    errors.StorageFull: 507,
    errors.StorageRefuses: 500,  # nothing that passes by itself
    errors.Unavailable: 503,
}


def reply_error(error: errors.ResumableError, *, dialect: str = "flow", permanent: bool = False) -> Reply:
    """An error as JSON.

    :param dialect: resumable.js must not be told 413.
    :param permanent: Say 415 to what sending again cannot mend, which both clients understand.
    """
    status = _status(error)
    if status == 413 and dialect == "resumable":
        status = 400
    if status in (400, 413) and permanent:
        status = 415
    headers = {"Allow": ", ".join(error.allowed)} if isinstance(error, errors.MethodNotAllowed) else {}
    if status == 503:
        headers["Retry-After"] = "1"
    return Reply(status=status, headers=headers, body=message(str(error)))


def message(text: str) -> str:
    """The body of an error."""
    return json.dumps({"error": text}) + "\n"


def _status(error: errors.ResumableError) -> int:
    if isinstance(error, errors.UploadRejected):
        return error.status
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
