"""Creations that are sent again: what makes two of them the same, and what a client may call one.

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
# RFC 8941 "Strings"; and any single word, for the clients that leave out the quotes.
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
_WORD = re.compile(r"[!#-+\--:<-\[\]-~]{1,255}")


def parse_key(value: str) -> str:
    """What the client calls its request: the ``Idempotency-Key`` header.

    :raises InvalidRequest: It is not one string.
    """
    value = value.strip(" \t")
    if found := _STRING.fullmatch(value):
        return re.sub(r"\\(.)", r"\1", found[1])
    if _WORD.fullmatch(value):
        return value
    raise InvalidRequest(f'{HEADER} is not a string of 1 to 255 ASCII characters, such as "8e03978e-40d5-43dd".')


def request_key_of(creation: Creation, owner: str | None) -> str | None:
    """What a creation finds the upload by that it has made before; ``None``: it makes a new one each time.

    A final upload is known by its parts. The client's key does not count there, nor with a part: clients that have one
    key for a file send it along with each of its parts, which are not the same.
    """
    if creation.concat is not None and creation.concat.is_final:
        return _digest("final", owner, _pairs(creation.metadata), creation.concat.parts)
    if creation.concat is not None or creation.idempotency_key is None:
        return None
    return _digest("key", owner, creation.idempotency_key)


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _pairs(metadata: UploadMetadata) -> list[tuple[str, str]]:
    """What metadata says, in whatever order and with whatever blanks."""
    return sorted((key, metadata.value_bytes(key).hex()) for key in metadata)


def check_same(upload: Upload, creation: Creation) -> None:
    """Refuse a key that has been used for another upload.

    :raises KeyReused: What is asked for now is not what was asked for then.
    """
    if creation.concat is not None:
        return  # found by all that it consists of
    is_same_length = creation.length is None or creation.length == upload.length
    if not is_same_length or _pairs(creation.metadata) != _pairs(upload.metadata):
        raise KeyReused(f"This {HEADER} was used for an upload of another length or with other metadata.")


def is_wanted(upload: Upload, write: Write) -> bool:
    """Whether content that comes again with the creation has bytes that the upload lacks."""
    if upload.is_whole or upload.status not in (Status.NEW, Status.ACTIVE):
        return False
    if write.is_guarded and upload.offset > 0:
        return False  # the checksum is one of the whole content; the client goes on from the offset
    return write.size is None or write.size > upload.offset
