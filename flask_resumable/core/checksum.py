"""Checksums of a request's content: the ``Upload-Checksum`` header."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from typing import Self

from ..errors import ChecksumMismatch
from ..errors import InvalidRequest
from .metadata import UploadMetadata


class Hasher(Protocol):
    """The interface of :mod:`hashlib` objects."""

    def update(self, block: bytes | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


class Crc32:
    """CRC-32 with the interface of a :mod:`hashlib` object. The digest is 4 bytes, most significant first."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, block: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


# tus advertises them in this order. tus 1.0, "Checksum", requires sha1. The IETF draft has a list of its own, in
# protocols/ietf/digests.py.
# They detect accidents in transit and are not meant for security. Content whose checksum comes in a trailer is hashed
# with each of them. ``upload.digest()`` knows them, too.
ALGORITHMS: dict[str, Callable[[], Hasher]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "crc32": Crc32,
}


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum that the client announced."""

    algorithm: str
    digest: bytes

    @classmethod
    def from_header(cls, value: str) -> Self:
        """Parse an ``Upload-Checksum`` header, such as ``sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=``.

        :raises InvalidRequest: The algorithm is unknown, or the digest is not base64 or has the wrong size.

        Spec: tus 1.0 "Upload-Checksum".
        """
        algorithm, _, encoded = value.strip(" \t").partition(" ")
        if algorithm not in ALGORITHMS:
            raise InvalidRequest(f"Upload-Checksum has an unknown algorithm; use one of {', '.join(ALGORITHMS)}.")
        try:
            digest = base64.b64decode(encoded.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise InvalidRequest("Upload-Checksum must be '<algorithm> <base64 of the raw digest>'.") from None
        if len(digest) != len(ALGORITHMS[algorithm]().digest()):
            raise InvalidRequest(f"Upload-Checksum does not have the size of a raw {algorithm} digest.")
        return cls(algorithm, digest)

    def to_header(self) -> str:
        """Return the value of an ``Upload-Checksum`` header."""
        return f"{self.algorithm} {base64.b64encode(self.digest).decode()}"

    def hasher(self) -> Hasher:
        """Return a new hash object for this algorithm."""
        return ALGORITHMS[self.algorithm]()

    def check(self, hasher: Hasher) -> None:
        """Compare the checksum with that of the received content.

        :raises ChecksumMismatch: They differ.
        """
        if not hmac.compare_digest(self.digest, hasher.digest()):
            raise ChecksumMismatch


OF_ALL = "repr-digest"  # the key in an upload's metadata for the digest that all of its content must have


def announced_digest(metadata: UploadMetadata) -> Checksum | None:
    """Return the digest that the client has announced for the whole upload, or ``None``.

    It is part of the metadata, so that it needs no column of its own, and tus clients can announce it, too.
    """
    with suppress(KeyError, InvalidRequest):
        return Checksum.from_header(metadata[OF_ALL])
    return None
