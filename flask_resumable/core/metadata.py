"""What a client says about its file: the ``Upload-Metadata`` header.

Other protocols allow keys that the header cannot have, and several values for one key. They are kept in the same form:

- In a key, characters that tus does not allow are percent-encoded as UTF-8, and so is a ``%`` that two hexadecimal
  digits follow. A key that a tus client sent is only decoded if this rule would encode it in the same way.
- The second value of ``tag`` has the key ``tag%+1``, the third ``tag%+2``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from functools import lru_cache
from typing import Self
from urllib.parse import unquote_to_bytes

from ..errors import InvalidRequest

# tus 1.0, "Creation": keys are ASCII, non-empty, without space or comma. Control characters could end up in logs.
_KEY = re.compile(r"[!-+\--~]+")
_ENCODED = re.compile(r"[^!-+\--~]|%(?=[0-9A-Fa-f]{2}|\+[1-9])")
_FURTHER = re.compile(r"%\+[1-9][0-9]*\Z")


@dataclass(frozen=True, slots=True, eq=False)  # compared as a mapping
class UploadMetadata(Mapping[str, str]):
    """The metadata that a client sent, as a mapping of strings.

    ::

        upload.metadata.get("album", "none")     # a client may send no metadata at all
        upload.metadata.filename

    Values are decoded as UTF-8, and invalid bytes become U+FFFD. :meth:`value_bytes` returns them unchanged. ``raw`` is
    the header as the client sent it. If a client of flow.js sent several values for a key, this is the first one, and
    :meth:`getlist` returns all. Clients can send anything here: never build a path, a header or SQL from it.
    """

    raw: str = ""
    # Encoded values by their keys, of which a header can have thousands. Made when one is first looked up.
    _encoded: dict[str, str] | None = field(default=None, init=False, repr=False)

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
        values: dict[str, str] = {}
        for key, value in _pairs(raw):
            if not _KEY.fullmatch(key):
                raise InvalidRequest("Upload-Metadata has a key that is empty or not printable ASCII.")
            if (name := _decode_key(key)) in seen:
                raise InvalidRequest(f"Upload-Metadata has the key {key!r} more than once.")
            seen.add(name)
            _decode(key, value)
            values[key] = value
        metadata = cls(raw)
        object.__setattr__(metadata, "_encoded", values)
        return metadata

    @classmethod
    def from_values(cls, values: Mapping[str, str] | Iterable[tuple[str, str]]) -> Self:
        """Return metadata with these values, for a client that did not send the header.

        :param values: A mapping, or pairs if a key may have several values. Keys are any text but the empty one.
        """
        pairs = values.items() if isinstance(values, Mapping) else values
        counts: dict[str, int] = {}
        items: list[str] = []
        for key, value in pairs:
            count = counts.get(key, 0)
            counts[key] = count + 1
            name = (key if key.isalpha() and key.isascii() else _encode_key(key)) + (f"%+{count}" if count else "")
            items.append(f"{name} {base64.b64encode(value.encode()).decode()}" if value else name)
        return cls(",".join(items))

    def with_values(self, values: Mapping[str, str]) -> Self:
        """Return the metadata with ``values`` in place of all that it has for the same keys."""
        replaced = {_encode_key(key) for key in values} | {*values}
        kept = [f"{name} {value}".rstrip() for name, value in _pairs(self.raw) if _unnumbered(name) not in replaced]
        return type(self)(",".join([*kept, type(self).from_values(values).raw] if values else kept))

    def to_header(self) -> str:
        """Return the header as the client sent it."""
        return self.raw

    def value_bytes(self, key: str) -> bytes:
        """Return the bytes of a value, which may be anything.

        :raises KeyError: There is no such key.
        """
        values = self._values()
        for name in (_encode_key(key), key) if "%" in self.raw else (key,):
            if (value := values.get(name)) is not None:
                return _decode(name, value)
        raise KeyError(key)

    def getlist(self, key: str) -> list[str]:
        """Return all values of a key in order, or an empty list. Only clients of flow.js can send more than one.

        ::

            tags = upload.metadata.getlist("tag[]")
        """
        if key not in self:
            return []
        names = {_encode_key(key), key}
        more = (pair for pair in _pairs(self.raw) if pair[0] not in names and _unnumbered(pair[0]) in names)
        return [self[key], *(_decode(name, value).decode("utf-8", "replace") for name, value in more)]

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
        keys = self._values()
        if "%" not in self.raw:
            return iter(keys)
        return (_decode_key(key) for key in keys if _unnumbered(key) == key or _unnumbered(key) not in keys)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _values(self) -> dict[str, str]:
        if self._encoded is None:
            values: dict[str, str] = {}
            for key, value in _pairs(self.raw):
                values.setdefault(key, value)
            object.__setattr__(self, "_encoded", values)
            return values
        return self._encoded


@lru_cache(8)
def metadata_of(raw: str) -> UploadMetadata:
    """Return the metadata of a header that was checked before. Models call this each time they are asked for it."""
    return UploadMetadata(raw)


def _encode_key(key: str) -> str:
    """Return a key as the header can have it."""
    return _ENCODED.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass")), key
    )


def _decode_key(key: str) -> str:
    """Return the key that :func:`_encode_key` encoded, or ``key`` if it did not make it."""
    if "%" not in key:
        return key
    decoded = unquote_to_bytes(key).decode("utf-8", "replace")
    return decoded if _encode_key(decoded) == key else key


def _unnumbered(key: str) -> str:
    """Return an encoded key without the number of a further value."""
    return _FURTHER.sub("", key)


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
