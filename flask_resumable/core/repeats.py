"""Recognizes creations that a client sends again.

Spec: draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import hashlib
import json
import re

from ..errors import InvalidRequest
from ..errors import KeyReused
from .metadata import UploadMetadata
from .upload import Creation
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
    clients that have one key per file send it with each of the parts.
    """
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


def check_same(upload: Upload, creation: Creation) -> None:
    """Refuse a key that was used for a different upload.

    :raises KeyReused: The length or the metadata differ from those of the first creation.
    """
    if creation.concat is not None:
        return  # its key covers everything it consists of
    is_same_length = creation.length is None or creation.length == upload.length
    if not is_same_length or _pairs(creation.metadata) != _pairs(upload.metadata):
        raise KeyReused(f"This {HEADER} was used for an upload with another length or metadata; use a new one.")


def is_wanted(upload: Upload, write: Write) -> bool:
    """Whether content that is sent again with a creation contains bytes that the upload lacks."""
    if upload.is_whole or upload.status not in (Status.NEW, Status.ACTIVE):
        return False
    if write.is_guarded and upload.offset > 0:
        return False  # the checksum covers the whole content, so the client must resume from the offset instead
    return write.size is None or write.size > upload.offset
