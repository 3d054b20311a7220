"""tus 1.0 on the wire: parses header fields and creates replies.

See https://tus.io/protocols/resumable-upload, version 1.0.0. Single headers are parsed in ``metadata``, ``checksum``
and ``concat``. This module combines them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from datetime import datetime
from datetime import UTC
from email.utils import format_datetime
from functools import lru_cache

from ...core import grant
from ...core import repeats
from ...core.checksum import ALGORITHMS
from ...core.checksum import Checksum
from ...core.concat import Concat
from ...core.fields import Fields
from ...core.fields import whole_number
from ...core.metadata import UploadMetadata
from ...core.processing import HEADERS
from ...core.processing import processing_headers
from ...core.upload import Creation
from ...core.upload import Status
from ...core.upload import Upload
from ...core.upload import Write
from ...errors import InvalidRequest
from ...errors import UnsupportedMediaType
from ...errors import UnsupportedVersion
from ..reply import Reply

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "checksum-trailer",
    "termination",
    "concatenation",
    "concatenation-unfinished",
)
_NEEDS = {  # tus 1.0: extensions that require another one
    "creation-with-upload": "creation",
    "creation-defer-length": "creation",
    "checksum-trailer": "checksum",
    "concatenation-unfinished": "concatenation",
}
METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
REQUEST_HEADERS = (
    "Content-Type",
    "Idempotency-Key",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
    grant.HEADER,
)
RESPONSE_HEADERS = (
    "Location",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    *HEADERS,
)
_COMMON = {"Tus-Resumable": VERSION, "X-Content-Type-Options": "nosniff"}
_UNCACHED = {**_COMMON, "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What this server offers through tus."""

    extensions: frozenset[str] = frozenset(EXTENSIONS)
    max_size: int | None = None
    max_metadata: int = 16 * 1024  # in characters
    require_checksum: bool = False
    strict_head: bool = False  # whether HEAD must have Tus-Resumable, too

    def offers(self, extension: str) -> bool:
        """Whether ``extension`` is offered, along with those it requires."""
        base = _NEEDS.get(extension)
        return extension in self.extensions and (base is None or self.offers(base))


def effective_method(method: str, fields: Fields) -> str:
    """Return the method to use. Spec: tus 1.0 "X-HTTP-Method-Override"."""
    override = fields.get("X-HTTP-Method-Override")
    return method if override is None else override.strip().upper()


def check_version(method: str, fields: Fields, policy: Policy) -> None:
    """Refuse other versions of the protocol, before anything else is checked.

    Browsers and ``curl -I`` send GET and HEAD without knowing tus. They may, but HEAD only without
    ``policy.strict_head``.

    :raises UnsupportedVersion: The version is missing or not 1.0.0.

    Spec: tus 1.0 "Tus-Resumable", "Tus-Version".
    """
    version = fields.get("Tus-Resumable")
    if method in ("OPTIONS", "GET") or version == VERSION:
        return
    if version is None and method == "HEAD" and not policy.strict_head:
        return
    raise UnsupportedVersion(f"This server supports tus {VERSION}; send 'Tus-Resumable: {VERSION}'.")


def parse_creation(fields: Fields, size: int | None, policy: Policy) -> tuple[Creation, Write | None]:
    """Parse a POST, along with the content it may have.

    :param size: The length of the body in bytes, or ``None`` if it is not announced.
    :raises InvalidRequest: Headers are contradictory, malformed or not supported.

    Spec: tus 1.0 "Creation", "Creation With Upload", "Concatenation".
    """
    concat = _parse_concat(fields, policy)
    length = _parse_length(fields, concat, policy)
    metadata = UploadMetadata.from_header(fields.get("Upload-Metadata") or "", max_size=policy.max_metadata)
    key = fields.get(repeats.HEADER)
    creation = Creation(
        length=length,
        metadata=metadata,
        concat=concat,
        protocol="tus",
        idempotency_key=None if key is None else repeats.parse_key(key),
    )
    # Creation With Upload: a body of any other type, which HTML forms send and clients without a body, is not content.
    has_content = policy.offers("creation-with-upload") and _is_content(fields)
    return creation, _parse_content(fields, 0, size, policy) if has_content else None


def _parse_concat(fields: Fields, policy: Policy) -> Concat | None:
    value = fields.get("Upload-Concat")
    if value is None:
        return None
    if not policy.offers("concatenation"):
        raise InvalidRequest("Upload-Concat is not supported by this server.")
    return Concat.from_header(value)


def _parse_length(fields: Fields, concat: Concat | None, policy: Policy) -> int | None:
    length = _number(fields, "Upload-Length")
    defer = fields.get("Upload-Defer-Length")
    if concat is not None and concat.is_final:
        if length is not None or defer is not None:
            raise InvalidRequest("The length of a final upload is the sum of its parts; leave out Upload-Length.")
        return None
    if (length is None) == (defer is None):
        raise InvalidRequest("Send either Upload-Length or 'Upload-Defer-Length: 1'.")
    if defer is not None and not policy.offers("creation-defer-length"):
        raise InvalidRequest("Upload-Defer-Length is not supported by this server; send Upload-Length.")
    if defer is not None and defer != "1":
        raise InvalidRequest("Upload-Defer-Length must be 1.")
    return length


def parse_write(fields: Fields, size: int | None, policy: Policy) -> Write:
    """Parse a PATCH.

    :param size: The length of the body in bytes, or ``None`` if it is not announced.
    :raises UnsupportedMediaType: The body does not have the content type for upload content.
    :raises InvalidRequest: The offset is missing, or a header is malformed.

    Spec: tus 1.0 "PATCH".
    """
    if not _is_content(fields):
        raise UnsupportedMediaType(f"Send the content with 'Content-Type: {CONTENT_TYPE}'.")
    offset = _number(fields, "Upload-Offset")
    if offset is None:
        raise InvalidRequest("Upload-Offset is missing; request the current offset with HEAD.")
    return _parse_content(fields, offset, size, policy, _number(fields, "Upload-Length"))


def _parse_content(
    fields: Fields, start: int, size: int | None, policy: Policy, declares_length: int | None = None
) -> Write:
    announced = [name.strip().lower() for name in (fields.get("Trailer") or "").split(",")]
    in_trailer = "upload-checksum" in announced and policy.offers("checksum-trailer")
    header = fields.get("Upload-Checksum") if policy.offers("checksum") else None
    if header is not None and in_trailer:
        raise InvalidRequest("Send Upload-Checksum as a header or a trailer, not as both.")
    if header is None and not in_trailer and policy.require_checksum and size != 0:
        raise InvalidRequest("This server requires Upload-Checksum.")
    return Write(
        start=start,
        size=size,
        declares_length=declares_length,
        checksum=None if header is None else Checksum.from_header(header),
        checksum_in_trailer=in_trailer,
    )


def _is_content(fields: Fields) -> bool:
    return (fields.get("Content-Type") or "").partition(";")[0].strip().lower() == CONTENT_TYPE


def _number(fields: Fields, name: str) -> int | None:
    value = fields.get(name)
    return None if value is None else whole_number(value, name)


def reply_options(policy: Policy) -> Reply:
    """Reply with what this server supports. Spec: tus 1.0 "OPTIONS"."""
    headers = {"Tus-Version": VERSION}
    offered = [extension for extension in EXTENSIONS if policy.offers(extension)]
    if offered:
        headers["Tus-Extension"] = ",".join(offered)
    if policy.max_size is not None:
        headers["Tus-Max-Size"] = str(policy.max_size)
    if policy.offers("checksum"):
        headers["Tus-Checksum-Algorithm"] = ",".join(ALGORITHMS)
    return Reply(status=204, headers=headers)


def reply_created(upload: Upload, location: str, policy: Policy, *, with_content: bool) -> Reply:
    """Reply that an upload was created. Spec: tus 1.0 "POST"."""
    headers = {"Location": location, **expiry_headers(upload), **processing_headers(upload.processing)}
    headers |= max_size_headers(upload, policy)
    if with_content:
        headers["Upload-Offset"] = str(upload.offset)
    return _answered(upload, Reply(status=201, headers=headers), status=201)


def reply_head(upload: Upload, policy: Policy) -> Reply:
    """Reply with the progress of an upload. Spec: tus 1.0 "HEAD", "Concatenation"."""
    headers = {**expiry_headers(upload), **max_size_headers(upload, policy), **processing_headers(upload.processing)}
    if not upload.is_final or upload.status is Status.COMPLETE:
        headers["Upload-Offset"] = str(upload.offset)
    if upload.length is not None:
        headers["Upload-Length"] = str(upload.length)
    elif not upload.is_final:
        headers["Upload-Defer-Length"] = "1"
    if upload.metadata.raw:
        headers["Upload-Metadata"] = upload.metadata.to_header()
    if upload.concat is not None:
        headers["Upload-Concat"] = upload.concat.raw
    return Reply(status=200, headers={**({} if upload.answer is None else upload.answer.bare_headers), **headers})


def reply_written(upload: Upload) -> Reply:
    """Reply that content was added. Spec: tus 1.0 "PATCH"."""
    headers = {"Upload-Offset": str(upload.offset), **expiry_headers(upload), **processing_headers(upload.processing)}
    return _answered(upload, Reply(status=204, headers=headers))


def _answered(upload: Upload, reply: Reply, *, status: int | None = None) -> Reply:
    """Add the app's answer, if there is one. tus 1.0 wants a 204 after content, which an answer with a body replaces.

    Clients take any 2xx for success.
    """
    answer = upload.answer
    if answer is None:
        return reply
    if not answer.content:
        return replace(reply, headers={**answer.bare_headers, **reply.headers})
    headers = {**answer.added_headers, **reply.headers}
    return Reply(status=status or answer.status, headers=headers, content=answer.content)


def reply_deleted() -> Reply:
    """Reply that an upload was removed. Spec: tus 1.0 "Termination"."""
    return Reply(status=204)


def expiry_headers(upload: Upload) -> dict[str, str]:
    """Return ``Upload-Expires``, if the upload can expire. Spec: tus 1.0 "Expiration"."""
    if upload.expires_at is None or not upload.can_expire:
        return {}
    return {"Upload-Expires": http_date(upload.expires_at)}


def max_size_headers(upload: Upload, policy: Policy) -> dict[str, str]:
    """Return ``Tus-Max-Size``, if the upload has a limit of its own. OPTIONS tells the limit of all uploads."""
    if upload.max_size is None:
        return {}
    limit = upload.max_size if policy.max_size is None else min(upload.max_size, policy.max_size)
    return {"Tus-Max-Size": str(limit)}


@lru_cache(maxsize=1024)
def http_date(moment: datetime) -> str:
    """Format a time as IMF-fixdate, independent of the locale."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def common_headers(method: str, status: int) -> Mapping[str, str]:
    """Return the headers of every response. Caches may store a 404 by default, so only downloads can be cached.

    Spec: tus 1.0 "Tus-Resumable", "HEAD"; RFC 9111 "Calculating Heuristic Freshness".
    """
    return _COMMON if method == "GET" and status < 400 else _UNCACHED
