"""Where an upload's files are. Of what clients say, nothing but an id ever becomes a part of a path."""

from __future__ import annotations

import os
from datetime import UTC

from ...core.ids import ID_PATTERN
from ...core.placement import Place
from ...core.upload import Upload


class Paths:
    """The files of an upload folder.

    Text, not :class:`~pathlib.Path`: a dozen of these, for a small upload, take longer than the calls they are for.

    :param directory: The upload folder; ``strftime`` patterns in it stand for the upload's time of creation, in UTC.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.root, self._pattern = _split(os.path.abspath(directory))
        self.work = os.path.join(self.root, ".partial")

    def part(self, upload: Upload) -> str:
        """The unfinished file."""
        return f"{self.work}/{_checked(upload.id)}.part"

    def lock(self, upload: Upload) -> str:
        """Its fence."""
        return f"{self.work}/{_checked(upload.id)}.lock"

    def moved(self, upload: Upload) -> str:
        """The note of where its finished file has been moved to."""
        return f"{self.work}/{_checked(upload.id)}.moved"

    def chosen(self, target: str | os.PathLike[str]) -> str:
        """A place for a finished file that the app has chosen, as records have it: below the root, if it is there.

        :raises ValueError: A relative path leads out of the root, or nothing finished belongs there.
        """
        given = os.fspath(target)
        path = os.path.normpath(os.path.join(self.root, given))
        is_below = path.startswith(os.path.join(self.root, ""))
        if not os.path.isabs(given) and not is_below:
            raise ValueError(f"{given!r} is not below the upload folder; elsewhere, the path must be absolute.")
        if path == self.root or (is_below and self._is_in_work(path)):
            raise ValueError(f"{given!r} is not a valid path for a finished file.")
        return os.path.relpath(path, self.root) if is_below else path

    def _is_in_work(self, path: str) -> bool:
        """Asked of the file system: on some, ``.PARTIAL`` is the same folder."""
        top = os.path.join(self.root, os.path.relpath(path, self.root).split(os.sep)[0])
        try:
            return top == self.work or os.path.samefile(top, self.work)
        except OSError:  # one of them does not exist
            return False

    def name(self, upload: Upload) -> str:
        """The finished file, below the root."""
        folder = upload.created_at.astimezone(UTC).strftime(self._pattern) if self._pattern else ""
        return os.path.join(folder, Place.of(upload.storage).folder, _checked(upload.id))

    def published(self, upload: Upload) -> str:
        """The finished file."""
        return os.path.join(self.root, self.name(upload))

    def current(self, upload: Upload) -> str:
        """Where the bytes are, as the record says: below the root, or anywhere, if the app has moved them there."""
        published = upload.storage.get("path")
        return os.path.join(self.root, published) if published else self.part(upload)


def _split(directory: str) -> tuple[str, str]:
    """The fixed part of an upload folder, and the part with ``strftime`` patterns."""
    fixed, percent, rest = directory.partition("%")
    if not percent:
        return directory, ""
    root = fixed[: fixed.rindex(os.sep)] or os.sep
    return root, directory[len(root) :].lstrip(os.sep)


def _checked(upload_id: str) -> str:
    # The last line of defence: whatever happened before, nothing but an id becomes a path.
    if not ID_PATTERN.fullmatch(upload_id):
        raise ValueError(f"{upload_id!r} is not an upload id.")
    return upload_id
