"""Recognizes creations that a client sends again.

Spec: draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime

from ..errors import InvalidRequest
from ..errors import KeyReused
from ..errors import TokenRefused
from .metadata import UploadMetadata
from .upload import Creation
from .upload import LEAVING
from .upload import Status
from .upload import Upload
from .upload import Write

HEADER = "Idempotency-Key"
# A string as in RFC 8941, or a single word, because some clients leave out the quotes.
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
_WORD = re.compile(r"[!#-+\--:<-\[\]-~]{1,255}")


def parse_key(value: str) -> str:
    """Parse an ``Idempotency-Key`` header.

    :raises InvalidRequest: The header is not a single string.
    """
    value = value.strip(" \t")
    if found := _STRING.fullmatch(value):
        return re.sub(r"\\(.)", r"\1", found[1])
    if _WORD.fullmatch(value):
        return value
    raise InvalidRequest(f'{HEADER} must be a string of 1 to 255 ASCII characters, such as "8e03978e-40d5-43dd".')


def request_key_of(creation: Creation, owner: str | None) -> str | None:
    """Return the key by which a repeated creation finds its upload, or ``None`` if it always creates a new one.

    A final upload is identified by its parts. The client's own key is ignored there, and for partial uploads, because
    clients that have one key per file send it with each of the parts. A token is used only once, so it is a key, too.
    """
    if creation.grant is not None:
        return creation.grant.request_key
    if creation.concat is not None and creation.concat.is_final:
        return _digest("final", owner, _pairs(creation.metadata), creation.concat.parts)
    if creation.concat is not None or creation.idempotency_key is None:
        return None
    return _digest("key", owner, creation.idempotency_key)


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _pairs(metadata: UploadMetadata) -> list[tuple[str, str]]:
    """Return the metadata in a form that does not depend on order and whitespace."""
    return sorted((key, metadata.value_bytes(key).hex()) for key in metadata)


def check_same(upload: Upload, creation: Creation, now: datetime) -> None:
    """Refuse a key or a token that was used for a different upload.

    :raises KeyReused: The length or the metadata differ from those of the first creation.
    :raises TokenRefused: The same, or the upload has expired or was removed.
    """
    if creation.grant is not None:
        is_over = upload.status in LEAVING or upload.is_expired(now)
        if is_over or upload.client_key != creation.client_key or not _is_same(upload, creation):
            raise TokenRefused("This upload token has been used already; each token is for one upload. Get a new one.")
        return
    if creation.concat is not None:
        return  # its key covers everything it consists of
    if not _is_same(upload, creation):
        raise KeyReused(f"This {HEADER} was used for an upload with another length or metadata; use a new one.")


def _is_same(upload: Upload, creation: Creation) -> bool:
    is_same_length = creation.length is None or creation.length == upload.length
    return is_same_length and _pairs(creation.metadata) == _pairs(upload.metadata)


def is_wanted(upload: Upload, write: Write) -> bool:
    """Whether content that is sent again with a creation contains bytes that the upload lacks."""
    if upload.is_whole or upload.status not in (Status.NEW, Status.ACTIVE):
        return False
    if write.is_guarded and upload.offset > 0:
        return False  # the checksum covers the whole content, so the client must resume from the offset instead
    return write.size is None or write.size > upload.offset
