"""Digests of an upload's bytes, computed on demand."""

from __future__ import annotations

import hashlib
import sys
from typing import BinaryIO


def digest_of(stream: BinaryIO, name: str, length: int | None, block_size: int) -> str:
    """The hex digest of the first ``length`` bytes, or of all, read in blocks of ``block_size``.

    :param name: What :func:`hashlib.new` takes: ``"md5"``, ``"sha256"`` ...
    :raises ValueError: There is no such digest.
    """
    hasher = hashlib.new(name, usedforsecurity=False)
    left = sys.maxsize if length is None else length
    while left and (block := stream.read(min(block_size, left))):
        hasher.update(block)
        left -= len(block)
    return hasher.hexdigest()
