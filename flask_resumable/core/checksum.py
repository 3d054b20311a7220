"""The checksum of one request's content: the ``Upload-Checksum`` header."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from typing import Self

from ..errors import ChecksumMismatch
from ..errors import InvalidRequest


class Hasher(Protocol):
    """What :mod:`hashlib` objects are."""

    def update(self, block: bytes | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


class Crc32:
    """CRC-32 with the face of a :mod:`hashlib` object; the digest is 4 bytes, most significant first."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, block: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


# The order is the one advertised. tus 1.0, Checksum: sha1 must be offered.
# Not for security: these guard against accidents on the way.
ALGORITHMS: dict[str, Callable[[], Hasher]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "crc32": Crc32,
}


@dataclass(frozen=True, slots=True)
class Checksum:
    """An announced checksum."""

    algorithm: str
    digest: bytes

    @classmethod
    def from_header(cls, value: str) -> Self:
        """Parse ``algorithm base64``.

        :raises InvalidRequest: Unknown algorithm, bad base64, or a digest of the wrong size.

        Spec: tus 1.0 "Upload-Checksum".
        """
        algorithm, _, encoded = value.strip(" \t").partition(" ")
        if algorithm not in ALGORITHMS:
            raise InvalidRequest(f"Upload-Checksum: use one of {', '.join(ALGORITHMS)}.")
        try:
            digest = base64.b64decode(encoded.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise InvalidRequest("Upload-Checksum is not '<algorithm> <base64 of the raw digest>'.") from None
        if len(digest) != len(ALGORITHMS[algorithm]().digest()):
            raise InvalidRequest(f"Upload-Checksum: that is not the size of a raw {algorithm} digest.")
        return cls(algorithm, digest)

    def hasher(self) -> Hasher:
        """A fresh hash object for this checksum's algorithm."""
        return ALGORITHMS[self.algorithm]()

    def check(self, hasher: Hasher) -> None:
        """Compare with what was received.

        :raises ChecksumMismatch: They differ.
        """
        if not hmac.compare_digest(self.digest, hasher.digest()):
            raise ChecksumMismatch
