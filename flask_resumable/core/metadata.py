"""What a client says about its file: the ``Upload-Metadata`` header and its decoded view."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from ..errors import InvalidRequest

# tus 1.0, Creation: keys are ASCII, non-empty, without space or comma. Control characters could end up in logs.
_KEY = re.compile(r"[!-+\--~]+")


@dataclass(frozen=True, slots=True, eq=False)  # compared as the mapping it is
class UploadMetadata(Mapping[str, str]):
    """Decoded metadata that keeps ``raw``, the header as the client sent it.

    Values are decoded as UTF-8; bytes that are not UTF-8 become U+FFFD. :meth:`value_bytes` gives them unchanged.
    Everything in here is the client's word: never build a path, a header or SQL from it.
    """

    raw: str = ""

    @classmethod
    def from_header(cls, raw: str, *, max_size: int | None = None) -> Self:
        """Check and take over an ``Upload-Metadata`` header.

        :param max_size: The longest header accepted, in characters.
        :raises InvalidRequest: Empty, repeated or non-ASCII keys, values that are not base64, or too long.

        Spec: tus 1.0 "Upload-Metadata". Blanks around commas and a trailing comma are tolerated.
        """
        if max_size is not None and len(raw) > max_size:
            raise InvalidRequest(f"Upload-Metadata is longer than {max_size} characters.")
        seen: set[str] = set()
        for key, value in _pairs(raw):
            if not _KEY.fullmatch(key):
                raise InvalidRequest("Upload-Metadata has a key that is empty or not printable ASCII.")
            if key in seen:
                raise InvalidRequest(f"Upload-Metadata has the key {key!r} twice.")
            seen.add(key)
            _decode(key, value)
        return cls(raw)

    @classmethod
    def from_values(cls, values: Mapping[str, str]) -> Self:
        """Metadata that did not come as a header."""
        return cls(",".join([f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items()]))

    def to_header(self) -> str:
        """The header as it came."""
        return self.raw

    def value_bytes(self, key: str) -> bytes:
        """The value of ``key`` as the client's bytes.

        :raises KeyError: There is no such key.
        """
        for name, value in _pairs(self.raw):
            if name == key:
                return _decode(name, value)
        raise KeyError(key)

    @property
    def filename(self) -> str | None:
        """The client's name for the file: ``filename``, or ``name`` as Uppy sends it."""
        return self.get("filename") or self.get("name")

    @property
    def filetype(self) -> str | None:
        """The client's word for the media type: ``filetype``, or ``type`` as Uppy sends it."""
        return self.get("filetype") or self.get("type")

    def __getitem__(self, key: str) -> str:
        return self.value_bytes(key).decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in _pairs(self.raw))

    def __len__(self) -> int:
        return sum(1 for _ in _pairs(self.raw))


def _pairs(raw: str) -> Iterator[tuple[str, str]]:
    """Split ``key base64,key base64``; a value may be left out."""
    parts = raw.split(",")
    if not parts[-1].strip(" \t"):
        parts.pop()
    for part in parts:
        key, _, value = part.strip(" \t").partition(" ")
        yield key, value


def _decode(key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidRequest(f"Upload-Metadata: the value of {key!r} is not base64.") from None
