"""Digests of an upload's bytes."""

from __future__ import annotations

import hashlib
import sys
from typing import BinaryIO


def digest_of(stream: BinaryIO, name: str, length: int | None, block_size: int) -> str:
    """Return the hex digest of the first ``length`` bytes, or of all, reading ``block_size`` bytes at a time.

    :param name: A name that :func:`hashlib.new` accepts, such as ``"md5"`` or ``"sha256"``.
    :raises ValueError: There is no such algorithm.
    """
    hasher = hashlib.new(name, usedforsecurity=False)
    left = sys.maxsize if length is None else length
    while left and (block := stream.read(min(block_size, left))):
        hasher.update(block)
        left -= len(block)
    return hasher.hexdigest()
