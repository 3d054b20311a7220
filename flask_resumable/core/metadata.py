"""What a client says about its file: the ``Upload-Metadata`` header."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from ..errors import InvalidRequest

# tus 1.0, "Creation": keys are ASCII, non-empty, without space or comma. Control characters could end up in logs.
_KEY = re.compile(r"[!-+\--~]+")


@dataclass(frozen=True, slots=True, eq=False)  # compared as a mapping
class UploadMetadata(Mapping[str, str]):
    """The metadata that a client sent, as a mapping of strings.

    ::

        upload.metadata["filename"]
        upload.metadata.get("album", "none")

    Values are decoded as UTF-8, and invalid bytes become U+FFFD. :meth:`value_bytes` returns them unchanged. ``raw`` is
    the header as the client sent it. Clients can send anything here: never build a path, a header or SQL from it.
    """

    raw: str = ""

    @classmethod
    def from_header(cls, raw: str, *, max_size: int | None = None) -> Self:
        """Check an ``Upload-Metadata`` header and return the metadata.

        :param max_size: The maximum length of the header, in characters.
        :raises InvalidRequest: The header is too long, a key is empty, repeated or not ASCII, or a value is not base64.

        Spec: tus 1.0 "Upload-Metadata". Whitespace around commas and a trailing comma are tolerated.
        """
        if max_size is not None and len(raw) > max_size:
            raise InvalidRequest(f"Upload-Metadata is longer than {max_size} characters; send less.")
        seen: set[str] = set()
        for key, value in _pairs(raw):
            if not _KEY.fullmatch(key):
                raise InvalidRequest("Upload-Metadata has a key that is empty or not printable ASCII.")
            if key in seen:
                raise InvalidRequest(f"Upload-Metadata has the key {key!r} more than once.")
            seen.add(key)
            _decode(key, value)
        return cls(raw)

    @classmethod
    def from_values(cls, values: Mapping[str, str]) -> Self:
        """Return metadata with these values, for a client that did not send the header."""
        return cls(",".join([f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items()]))

    def to_header(self) -> str:
        """Return the header as the client sent it."""
        return self.raw

    def value_bytes(self, key: str) -> bytes:
        """Return the bytes of a value, which may be anything.

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
        """The media type that the client claims: ``filetype``, or ``type`` as Uppy sends it."""
        return self.get("filetype") or self.get("type")

    def __getitem__(self, key: str) -> str:
        return self.value_bytes(key).decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in _pairs(self.raw))

    def __len__(self) -> int:
        return sum(1 for _ in _pairs(self.raw))


def _pairs(raw: str) -> Iterator[tuple[str, str]]:
    """Split ``key base64,key base64``. A value may be missing."""
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
        raise InvalidRequest(f"Upload-Metadata has a value for {key!r} that is not base64.") from None
