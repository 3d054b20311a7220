"""Tells which bytes have no record."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.ids import id_in
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import UploadNotFound
from ..interfaces import StateRepository


def owner_of(repository: StateRepository, name: str) -> Upload:
    """Return the upload whose bytes have this name. Raises ``UploadNotFound``."""
    upload = repository.get(id_in(name) or name)
    if upload.stored_as != name:  # its id was given to another upload
        raise UploadNotFound(name)
    return upload


def without_record(repository: StateRepository, names: Sequence[str]) -> set[str]:
    """Return those names of unfinished bytes that no upload has. List the bytes first: records precede them."""
    random = [name for name in names if id_in(name) in (name, None)]
    known = repository.ids_with_unfinished_bytes(random) if random else set()
    return {name for name in set(names) - known if name in random or not _is_unfinished(repository, name)}


def _is_unfinished(repository: StateRepository, name: str) -> bool:
    try:
        upload = owner_of(repository, name)
    except UploadNotFound:
        return False
    return upload.status is not Status.COMPLETE or upload.is_partial
