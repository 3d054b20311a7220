"""The IETF draft on the wire: parses header fields and creates replies.

See https://datatracker.ietf.org/doc/draft-ietf-httpbis-resumable-upload/. In what its versions differ is in
``versions.py``, and how single fields are parsed in ``structured_fields.py``, ``disposition.py`` and ``digests.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from math import ceil

from ...core import grant
from ...core import repeats
from ...core.answer import Answer
from ...core.checksum import OF_ALL
from ...core.disposition import content_disposition
from ...core.fields import Fields
from ...core.metadata import UploadMetadata
from ...core.processing import HEADERS
from ...core.processing import processing_headers
from ...core.upload import Creation
from ...core.upload import Status
from ...core.upload import Upload
from ...core.upload import Write
from ...errors import InvalidRequest
from ...errors import LengthConflict
from ...errors import TooLarge
from ...errors import UnsupportedMediaType
from ...errors import UnsupportedVersion
from ..reply import Reply
from .digests import parse_digest
from .digests import WANTED
from .digests import wanted_algorithm
from .disposition import filename_of
from .disposition import media_type_of
from .structured_fields import dictionary
from .structured_fields import parse_integer
from .versions import HEADER
from .versions import is_supported
from .versions import NEWEST
from .versions import number_of
from .versions import OLDEST
from .versions import Version
from .versions import VERSIONS

CONTENT_TYPE = "application/partial-upload"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CREATING = ("POST", "PUT", "PATCH")
REQUEST_HEADERS = (
    "Content-Digest",
    "Content-Disposition",
    "Content-Type",
    "Idempotency-Key",
    "Repr-Digest",
    "Upload-Complete",
    "Upload-Defer-Length",
    HEADER,
    "Upload-Incomplete",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "Want-Repr-Digest",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
    grant.HEADER,
)
RESPONSE_HEADERS = (
    "Content-Disposition",
    "Location",
    "Repr-Digest",
    "Upload-Complete",
    HEADER,
    "Upload-Incomplete",
    "Upload-Length",
    "Upload-Limit",
    "Upload-Offset",
    *HEADERS,
)
COMMON = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_STATE = ("Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What this server allows in this protocol. Sizes are in bytes."""

    max_size: int | None = None
    min_size: int = 0  # of uploads that can be resumed
    max_append_size: int | None = None  # of one request
    min_append_size: int = 0
    lifetime: timedelta | None = None  # of an upload
    max_metadata: int = 16 * 1024  # in characters


def is_spoken(method: str, fields: Fields, *, at_upload: bool) -> bool:
    """Whether a request is in this protocol.

    :param at_upload: Whether its URL is that of an upload.
    """
    if fields.get("Tus-Resumable") is not None:
        return False
    if number_of(fields) is not None or _says_whether_complete(fields):
        return True
    if not at_upload:
        return False
    if method == "PATCH":
        return _media_type(fields) == CONTENT_TYPE
    # There, clients of the RFC have nothing that says what they speak.
    return method == "DELETE" and fields.get("Upload-Offset") is None


def _says_whether_complete(fields: Fields) -> bool:
    """Whether a client tries to, even if it does not succeed."""
    return any(fields.get(version.completeness) is not None for version in (NEWEST, OLDEST))


def effective_method(method: str, fields: Fields) -> str:
    """Return the method to use, which tus-js-client can send in a header."""
    override = fields.get("X-HTTP-Method-Override")
    return override.strip().upper() if override is not None and method == "POST" else method


def check_version(fields: Fields, *, is_upload: bool) -> None:
    """Refuse versions that are not supported. A whole file can be sent with any version.

    :param is_upload: Whether the request creates an upload.
    :raises UnsupportedVersion: The version is not supported.
    """
    number = number_of(fields)
    if number is None or number in VERSIONS or (is_upload and NEWEST.is_last(fields)):
        return
    known = ", ".join(map(str, VERSIONS))
    raise UnsupportedVersion(f"This server supports the versions {known} of this protocol, not {number}.")


def check_question(fields: Fields, version: Version) -> None:
    """Check a request that only asks, or cancels.

    :raises InvalidRequest: It has fields of requests with content, which the first drafts forbid.
    """
    found = [name for name in _STATE if fields.get(name) is not None]
    if version.refuses_state_in_questions and found:
        raise InvalidRequest(f"Leave out {' and '.join(found)}: this request has no content.")


def parse_creation(
    fields: Fields, size: int | None, version: Version, policy: Policy, *, proves_end: bool = True
) -> tuple[Creation, Write | None]:
    """Parse a request that creates an upload, along with its content.

    :param size: The length of the content in bytes, or ``None`` if it is not announced.
    :param proves_end: Whether the WSGI server tells content that was cut off from content that is complete.
    :raises InvalidRequest: A field is missing, or the content is smaller than this server allows.
    :raises LengthConflict: Two lengths are given that differ.
    :raises TooLarge: The content is larger than this server allows for a request.

    Spec: "Upload Creation".
    """
    is_last = version.is_last(fields)
    if is_last is None:
        raise InvalidRequest(f"{version.completeness} is missing; say whether the content is complete: ?0 or ?1.")
    length = parse_integer(fields.get("Upload-Length"))
    if is_last and size is not None:
        if length not in (None, size):
            raise LengthConflict(f"The content has {size} bytes, but Upload-Length says {length}.")
        length = size
    if version.limits_creation and size != 0:
        _check_size(size, policy, is_last=is_last)
    key = fields.get(repeats.HEADER)
    at_most = policy.max_append_size if version.limits_creation else None
    write = _write(fields, 0, size, version, is_last=is_last, proves_end=proves_end, at_most=at_most)
    creation = Creation(
        length=length,
        metadata=_metadata(fields, policy),
        protocol="ietf",
        idempotency_key=None if key is None else repeats.parse_key(key),
        awaits_completion=write.completes is False,
    )
    return creation, None if size == 0 else write


def parse_append(
    fields: Fields, size: int | None, version: Version, policy: Policy, *, proves_end: bool = True
) -> Write:
    """Parse a request that adds content to an upload. The parameters are those of :func:`parse_creation`.

    :raises UnsupportedMediaType: The content does not have the media type of the protocol.
    :raises InvalidRequest: A field is missing, or the content is smaller than this server allows.
    :raises TooLarge: The content is larger than this server allows for a request.

    Spec: "Upload Append".
    """
    if version.needs_media_type and _media_type(fields) != CONTENT_TYPE:
        raise UnsupportedMediaType(f"Send the content with 'Content-Type: {CONTENT_TYPE}'.")
    offset = parse_integer(fields.get("Upload-Offset"))
    if offset is None:
        raise InvalidRequest("Upload-Offset is missing; request the current offset with HEAD.")
    is_last = version.is_last(fields)
    if is_last is None and not version.may_omit_completeness:
        raise InvalidRequest(f"{version.completeness} is missing; say whether the content is the last: ?0 or ?1.")
    is_last = is_last is not False
    _check_size(size, policy, is_last=is_last)
    at_most = policy.max_append_size
    write = _write(fields, offset, size, version, is_last=is_last, proves_end=proves_end, at_most=at_most)
    return replace(write, declares_length=parse_integer(fields.get("Upload-Length")))


def _write(
    fields: Fields,
    start: int,
    size: int | None,
    version: Version,
    *,
    is_last: bool,
    proves_end: bool,
    at_most: int | None,
) -> Write:
    completes: bool | None = is_last
    if is_last and size is None and not proves_end:
        completes = None  # only a known length proves the end
    elif not is_last and version.ends_at_length:
        completes = None
    return Write(
        start=start,
        size=size,
        may_repeat_length=True,
        completes=completes,
        checksum=parse_digest(fields, "Content-Digest"),
        at_most=at_most,
        is_fatal_beyond_length=version.is_fatal_beyond_length,
    )


def _check_size(size: int | None, policy: Policy, *, is_last: bool) -> None:
    if size is None:
        return
    if policy.max_append_size is not None and size > policy.max_append_size:
        raise TooLarge(f"A request may have at most {policy.max_append_size} bytes.", policy.max_append_size)
    if size < policy.min_append_size and not is_last:
        raise InvalidRequest(f"Send at least {policy.min_append_size} bytes with each request but the last.")


def _metadata(fields: Fields, policy: Policy) -> UploadMetadata:
    """Return what the client says about its file. tus-js-client sends Upload-Metadata in this protocol, too."""
    given = UploadMetadata.from_header(fields.get("Upload-Metadata") or "", max_size=policy.max_metadata)
    found: dict[str, str | None] = {"filename": filename_of(fields.get("Content-Disposition"))}
    if _media_type(fields) != CONTENT_TYPE:
        found["filetype"] = media_type_of(fields.get("Content-Type"))
    digest = parse_digest(fields, "Repr-Digest")
    found[OF_ALL] = None if digest is None else digest.to_header()
    found[WANTED] = wanted_algorithm(fields)
    more = UploadMetadata.from_values({key: value for key, value in found.items() if value and key not in given})
    raw = ",".join(part.raw.rstrip(", \t") for part in (given, more) if part.raw)
    return UploadMetadata.from_header(raw, max_size=policy.max_metadata)


def _media_type(fields: Fields) -> str:
    return (fields.get("Content-Type") or "").partition(";")[0].strip().lower()


# --- replies ---


def limit_headers(
    policy: Policy, version: Version = NEWEST, upload: Upload | None = None, now: datetime | None = None
) -> dict[str, str]:
    """Return ``Upload-Limit``, for all uploads or for one. Spec: "Limits"."""
    sizes = [policy.max_size, None if upload is None else upload.max_size]
    limits: dict[str, int | None] = {
        "max-size": min((size for size in sizes if size is not None), default=None),
        "min-size": policy.min_size or None,
        "max-append-size": policy.max_append_size,
        "min-append-size": policy.min_append_size or None,
    }
    lifetime = policy.lifetime
    if upload is not None and now is not None:
        expires_at = upload.expires_at if upload.can_expire else None
        lifetime = None if expires_at is None else max(expires_at - now, timedelta(0))
    if lifetime is not None:
        # Rounded down for an upload, whose expiry must not seem to be later than it is.
        seconds = int(lifetime.total_seconds()) if upload is not None else ceil(lifetime.total_seconds())
        limits |= dict.fromkeys(version.lifetimes, seconds)
    found = {name: value for name, value in limits.items() if value is not None}
    return {"Upload-Limit": dictionary(found or {"min-size": 0})}


def state_headers(upload: Upload, version: Version) -> dict[str, str]:
    """Return the offset, and whether the upload is complete."""
    state = version.state(is_complete=upload.status is Status.COMPLETE)
    return {"Upload-Offset": str(upload.offset), **state, **processing_headers(upload.processing)}


def file_headers(upload: Upload) -> dict[str, str]:
    """Return the name and the type of the file, if the client has told them, in whichever protocol."""
    headers: dict[str, str] = {}
    if upload.metadata.filename:
        headers["Content-Disposition"] = content_disposition("inline", upload.metadata.filename)
    if filetype := media_type_of(upload.metadata.filetype):
        headers["Content-Type"] = filetype
    return headers


def reply_options(limits: Mapping[str, str]) -> Reply:
    """Reply that uploads can be created here, and with which limits. Spec: "Limits"."""
    return Reply(status=200, headers={**limits, "Allow": ", ".join(METHODS)})


def reply_state(upload: Upload, version: Version, limits: Mapping[str, str]) -> Reply:
    """Reply with the progress of an upload. Spec: "Offset Retrieval"."""
    length = {} if upload.length is None else {"Upload-Length": str(upload.length)}
    added = {} if upload.answer is None else upload.answer.bare_headers
    headers = {**added, **file_headers(upload), **state_headers(upload, version), **length, **limits}
    return Reply(status=204, headers=headers)


def reply_created(upload: Upload, location: str, version: Version, limits: Mapping[str, str]) -> Reply:
    """Reply that an upload was created, or that it is complete. Spec: "Upload Creation"."""
    headers = {"Location": location, **state_headers(upload, version), **limits}
    if upload.status is Status.COMPLETE:
        return _final(upload, 201, headers)
    return Reply(status=201, headers=headers)


def reply_appended(upload: Upload, version: Version, limits: Mapping[str, str]) -> Reply:
    """Reply that content was added, or that the upload is complete. Spec: "Upload Append"."""
    headers = {**state_headers(upload, version), **limits}
    if upload.status is Status.COMPLETE:
        return _final(upload, 200, headers)
    return Reply(status=version.appended, headers=headers)


def _final(upload: Upload, status: int, headers: Mapping[str, str]) -> Reply:
    """Reply with the app's own answer, if it gives one."""
    if upload.answer is None:
        return Reply(status=status, headers=dict(headers))
    return Reply(
        status=upload.answer.status,
        headers={**headers, **upload.answer.added_headers, **_location(upload.answer)},
        content=upload.answer.content,
    )


def _location(answer: Answer) -> dict[str, str]:
    """Return where the app says that the result is. This is the only response in which that may replace our URL."""
    found = [value for name, value in answer.headers.items() if name.lower() == "location"]
    return {"Location": found[0]} if found else {}


def reply_deleted() -> Reply:
    """Reply that an upload was removed. Spec: "Upload Cancellation"."""
    return Reply(status=204)


def version_headers(fields: Fields) -> dict[str, str]:
    """Return the version that the client speaks, if it is supported."""
    return {HEADER: str(number_of(fields))} if is_supported(fields) else {}
