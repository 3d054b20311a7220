"""The paths of an upload's files. The name of its bytes is the only value that ever becomes part of a path."""

from __future__ import annotations

import os
from datetime import UTC

from ...core.ids import NAME_PATTERN
from ...core.placement import Place
from ...core.upload import Upload


class Paths:
    """The files of an upload folder.

    Paths are strings, because creating a dozen :class:`~pathlib.Path` objects for a small upload takes longer than the
    system calls themselves.

    :param directory: The upload folder. ``strftime`` patterns are replaced by the upload's time of creation in UTC.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.root, self._pattern = _split(os.path.abspath(directory))
        self.work = os.path.join(self.root, ".partial")

    def part(self, upload: Upload) -> str:
        """Return the unfinished file."""
        return f"{self.work}/{_checked(upload.stored_as)}.part"

    def lock(self, upload: Upload) -> str:
        """Return the fence of the unfinished file."""
        return f"{self.work}/{_checked(upload.stored_as)}.lock"

    def moved(self, upload: Upload) -> str:
        """Return the note that lists where the finished file may have been moved to."""
        return f"{self.work}/{_checked(upload.stored_as)}.moved"

    def chosen(self, target: str | os.PathLike[str]) -> str:
        """Return the path that the app chose for a finished file, relative to the root if it is below it.

        :raises ValueError: A relative path leads out of the root, or finished files cannot be there.
        """
        given = os.fspath(target)
        path = os.path.normpath(os.path.join(self.root, given))
        is_below = path.startswith(os.path.join(self.root, ""))
        if not os.path.isabs(given) and not is_below:
            raise ValueError(
                f"{given!r} is not within the upload folder; use an absolute path to move a file elsewhere."
            )
        if path == self.root or (is_below and self._is_in_work(path)):
            raise ValueError(f"{given!r} is not a valid path for a finished file.")
        return os.path.relpath(path, self.root) if is_below else path

    def _is_in_work(self, path: str) -> bool:
        """Whether a path is in the folder for unfinished files, which on some file systems ``.PARTIAL`` is, too."""
        top = os.path.join(self.root, os.path.relpath(path, self.root).split(os.sep)[0])
        try:
            return top == self.work or os.path.samefile(top, self.work)
        except OSError:  # one of them does not exist
            return False

    def name(self, upload: Upload) -> str:
        """Return the path of the finished file, relative to the root."""
        folder = upload.created_at.astimezone(UTC).strftime(self._pattern) if self._pattern else ""
        return os.path.join(folder, Place.of(upload.storage).folder, _checked(upload.stored_as))

    def published(self, upload: Upload) -> str:
        """Return the path of the finished file."""
        return os.path.join(self.root, self.name(upload))

    def current(self, upload: Upload) -> str:
        """Return the path of the bytes as recorded. If the app has moved the file, it may be outside the root."""
        published = upload.storage.get("path")
        return os.path.join(self.root, published) if published else self.part(upload)


def _split(directory: str) -> tuple[str, str]:
    """Split the path of an upload folder into its fixed part and the part with ``strftime`` patterns."""
    fixed, percent, rest = directory.partition("%")
    if not percent:
        return directory, ""
    root = fixed[: fixed.rindex(os.sep)] or os.sep
    return root, directory[len(root) :].lstrip(os.sep)


def _checked(name: str) -> str:
    # The last line of defense: whatever happened before, only such a name becomes part of a path.
    if not NAME_PATTERN.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of an upload's bytes.")
    return name
