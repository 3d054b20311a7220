"""Compares files with the records of their uploads. Checks names and sizes, never contents, and changes nothing."""

from __future__ import annotations

import os

from ...core.upload import Status
from ...core.upload import Upload
from .chunk_folder import ChunkFolder
from .files import size_of


def inspect(upload: Upload, *, part: str, published: str, chunks: ChunkFolder) -> list[str]:
    """Describe what is wrong with an upload's files.

    :param part: The unfinished file.
    :param published: The finished file.
    :raises OSError: A file cannot be accessed.
    """
    if upload.status is Status.COMPLETE and not upload.is_partial:
        return _whole(upload, published, any_size=chunks.changes_size and upload.client_key is not None)
    problems = chunks.problems(upload) if "chunks" in upload.storage else _unfinished(upload, part)
    if problems and upload.status is Status.FINISHING and not upload.is_partial and os.path.exists(published):
        return []  # it may have been published just now, and the record does not say so yet
    return problems


def _whole(upload: Upload, path: str, *, any_size: bool) -> list[str]:
    found = size_of(path)
    if found is None:
        return [f"The finished file {path} is missing."]
    if found != upload.length and not any_size:
        return [f"The finished file {path} has {found} bytes, not {upload.length}."]
    return []


def _unfinished(upload: Upload, path: str) -> list[str]:
    needed = upload.received.stop
    found = size_of(path)
    if found is None:
        return [f"The unfinished file {path} is missing; {needed} bytes were received."] if needed else []
    if found < needed:
        return [f"The unfinished file {path} has {found} bytes; {needed} were received."]
    if upload.status is Status.COMPLETE and found != upload.length:
        return [f"The partial upload's file {path} has {found} bytes, not {upload.length}."]
    return []
