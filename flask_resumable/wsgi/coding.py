"""Header fields that change what a body means: its bytes would not be those of the file."""

from __future__ import annotations

from ..core.fields import Fields
from ..errors import InvalidRequest
from ..errors import UnsupportedMediaType

PLAIN = {  # the values that change nothing; clients send none of these fields by themselves
    "Content-Encoding": {"identity"},
    "Transfer-Encoding": {"chunked", "identity"},
    "Content-Transfer-Encoding": {"7bit", "8bit", "binary"},
}


def check_coding(fields: Fields) -> None:
    """Refuse bodies that are not the bytes of the file, or belong at a place of their own.

    :raises UnsupportedMediaType: The body is compressed, or coded otherwise.
    :raises InvalidRequest: It says itself where it belongs: offsets and chunk numbers do that here.

    Spec: RFC 9110 "Content-Encoding", "Partial PUT"; RFC 9112 "Transfer-Encoding".
    """
    for name, plain in PLAIN.items():
        for coding in (fields.get(name) or "").split(","):
            if (found := coding.strip().lower()) and found not in plain:
                raise UnsupportedMediaType(f"Send the content as it is, without '{name}: {found[:40]}'.")
    if fields.get("Content-Range") is not None:
        raise InvalidRequest("Content-Range means nothing here; leave it out.")
