"""Digests of an upload's bytes."""

from __future__ import annotations

import hashlib
import sys
from typing import BinaryIO

from ..core.checksum import ALGORITHMS
from ..core.checksum import Hasher


def digest_of(stream: BinaryIO, name: str, length: int | None, block_size: int) -> str:
    """Return the hex digest of the first ``length`` bytes, or of all, reading ``block_size`` bytes at a time.

    :param name: An algorithm of ``Upload-Checksum``, such as ``"crc32"``, or a name that :func:`hashlib.new` accepts.
    :raises ValueError: There is no such algorithm.
    """
    make = ALGORITHMS.get(name)
    hasher: Hasher = hashlib.new(name, usedforsecurity=False) if make is None else make()
    left = sys.maxsize if length is None else length
    while left and (block := stream.read(min(block_size, left))):
        hasher.update(block)
        left -= len(block)
    return hasher.digest().hex()
