"""Refuses header fields that change the meaning of a body, whose bytes would then not be those of the file."""

from __future__ import annotations

from ..core.fields import Fields
from ..errors import InvalidRequest
from ..errors import UnsupportedMediaType

PLAIN = {  # the values that change nothing; clients do not send these fields on their own
    "Content-Encoding": {"identity"},
    "Transfer-Encoding": {"chunked", "identity"},
    "Content-Transfer-Encoding": {"7bit", "8bit", "binary"},
}


def check_coding(fields: Fields) -> None:
    """Refuse bodies that are not the plain bytes of the file, or that say where they belong.

    :raises UnsupportedMediaType: The body is compressed or otherwise encoded.
    :raises InvalidRequest: The body has a Content-Range. Offsets and chunk numbers serve that purpose here.

    Spec: RFC 9110 "Content-Encoding", "Partial PUT"; RFC 9112 "Transfer-Encoding".
    """
    for name, plain in PLAIN.items():
        for coding in (fields.get(name) or "").split(","):
            if (found := coding.strip().lower()) and found not in plain:
                raise UnsupportedMediaType(f"Send the content unencoded, without '{name}: {found[:40]}'.")
    if fields.get("Content-Range") is not None:
        raise InvalidRequest("Content-Range is not supported; leave it out.")
