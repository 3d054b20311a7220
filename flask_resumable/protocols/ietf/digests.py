"""Digests of a request's content and of the whole upload.

Spec: RFC 9530. The draft mentions them up to version 8; later they are just a part of HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...core.checksum import ALGORITHMS
from ...core.checksum import Checksum
from ...core.fields import Fields
from ...core.metadata import UploadMetadata
from ...errors import InvalidRequest
from .structured_fields import byte_sequence
from .structured_fields import parse_bytes
from .structured_fields import parse_dictionary
from .structured_fields import parse_integer

# By their names in HTTP, the best first. The others that are registered are deprecated.
NAMES: Mapping[str, str] = {"sha-512": "sha512", "sha-256": "sha256"}
WANTED = "want-repr-digest"  # the key in an upload's metadata for the algorithm of the digest that the client wants


def parse_digest(fields: Fields, name: str) -> Checksum | None:
    """Return the best of the digests that a field has, or ``None`` if there is none that is supported.

    :param name: ``Content-Digest`` or ``Repr-Digest``.
    :raises InvalidRequest: A digest does not have the size that its algorithm has.
    """
    members = parse_dictionary(fields.get(name))
    for key, algorithm in NAMES.items():
        digest = parse_bytes(members.get(key, ""))
        if digest is None:
            continue
        if len(digest) != len(ALGORITHMS[algorithm]().digest()):
            raise InvalidRequest(f"{name} does not have the size of a {key} digest.")
        return Checksum(algorithm, digest)
    return None


def wanted_algorithm(fields: Fields) -> str | None:
    """Return the algorithm of ``Want-Repr-Digest`` that the client prefers, or ``None`` if none is supported."""
    members = parse_dictionary(fields.get("Want-Repr-Digest"))
    wishes = {NAMES[key]: parse_integer(members[key]) or 0 for key in NAMES if key in members}
    best = max(wishes, key=lambda algorithm: wishes[algorithm], default=None)
    return best if best is not None and wishes[best] > 0 else None


def algorithm_for(fields: Fields, metadata: UploadMetadata) -> str | None:
    """Return the algorithm of the digest to send with the last response, as wanted now or at the creation."""
    wanted = wanted_algorithm(fields) or metadata.get(WANTED)
    return wanted if wanted in NAMES.values() else None


def digest_headers(algorithm: str, digest: str) -> dict[str, str]:
    """Return ``Repr-Digest``.

    :param digest: In hex.
    """
    key = next(key for key, known in NAMES.items() if known == algorithm)
    return {"Repr-Digest": f"{key}={byte_sequence(bytes.fromhex(digest))}"}
