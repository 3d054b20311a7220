"""Maps errors to responses of the IETF draft: problem details (RFC 9457).

Clients resume after a 409 with Upload-Offset and after a 5xx, and give up on any other 4xx. So errors that may go away
by themselves have one of the former.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from ... import errors
from ..reply import Reply
from .versions import Version

CONTENT_TYPE = "application/problem+json"
TYPES = "https://iana.org/assignments/http-problem-types#"
STATUS: dict[type[errors.ResumableError], int] = {
    errors.UnsupportedMediaType: 415,
    errors.LengthRequired: 411,
    errors.MethodNotAllowed: 405,
    errors.InvalidRequest: 400,
    errors.UploadNotFound: 404,
    errors.IdTaken: 409,
    errors.UploadCompleted: 400,
    errors.UploadClosed: 403,
    errors.KeyReused: 422,
    errors.TokenRefused: 403,
    errors.QuotaExceeded: 429,
    errors.OffsetMismatch: 409,
    errors.LengthConflict: 400,
    errors.BeyondLength: 400,
    errors.TooLarge: 413,
    errors.ChecksumMismatch: 400,
    errors.BodyIncomplete: 503,  # a client that still reads this should resume; so it should if the server stops
    errors.BytesLost: 503,
    errors.UploadLocked: 503,
    errors.ClaimLost: 503,
    errors.StorageFull: 507,
    errors.StorageRefuses: 500,  # does not go away by itself
    errors.Unavailable: 503,
}
_PROBLEMS: dict[type[errors.ResumableError], tuple[str, str]] = {
    errors.OffsetMismatch: ("mismatching-upload-offset", "offset from request does not match offset of resource"),
    errors.LengthConflict: ("inconsistent-upload-length", "inconsistent length values for upload"),
    errors.BeyondLength: ("inconsistent-upload-length", "inconsistent length values for upload"),
    errors.UploadCompleted: ("completed-upload", "upload is already completed"),
}


def reply_error(error: errors.ResumableError, version: Version, *, is_final: bool = False) -> Reply:
    """Return an error as problem details.

    :param is_final: Whether the client must not go on with this upload, because the app has refused it.

    Spec: "Problem Types".
    """
    status = _status(error, version)
    members: dict[str, object] = {}
    if isinstance(error, errors.OffsetMismatch):
        members = {"expected-offset": error.expected, "provided-offset": error.provided}
    kind, title = next((known for error_type, known in _PROBLEMS.items() if isinstance(error, error_type)), ("", ""))
    if kind == "completed-upload" and not version.has_completed_problem:
        kind = ""
    body = problem(status, str(error), kind=kind, title=title, members=members)
    headers = {**version.state(is_complete=is_final), **_headers(error, status)}
    return Reply(status=status, headers=headers, body=body)


def problem(
    status: int, detail: str, *, kind: str = "", title: str = "", members: dict[str, object] | None = None
) -> str:
    """Return problem details as JSON.

    :param kind: The name of a type that the draft defines.
    """
    known = {"type": TYPES + kind, "title": title} if kind else {"title": _phrase(status)}
    return json.dumps({**known, "status": status, "detail": detail, **(members or {})}) + "\n"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _status(error: errors.ResumableError, version: Version) -> int:
    if isinstance(error, errors.UploadRejected):
        return error.status
    if isinstance(error, errors.UploadExpired):
        return version.expired
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)


def _headers(error: errors.ResumableError, status: int) -> dict[str, str]:
    if isinstance(error, errors.OffsetMismatch):
        return {"Upload-Offset": str(error.expected)}
    if isinstance(error, errors.MethodNotAllowed):
        return {"Allow": ", ".join(error.allowed)}
    known = {"Upload-Offset": str(error.offset)} if isinstance(error, errors.BodyIncomplete | errors.BytesLost) else {}
    if isinstance(error, errors.QuotaExceeded):
        return {"Retry-After": str(errors.QUOTA_RETRY)}
    return {**known, "Retry-After": "1"} if status in (503, 507) else known
