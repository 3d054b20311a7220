"""Moves finished files to where the app wants them.

A file gets its second name, or a copy on another file system, before the record says so, and loses its first name
afterwards. A note next to the fence, ``<id>.moved``, lists all possible names first. So whatever interrupts this, no
file is left in a place that nothing knows about.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress

from ...core.upload import JSONObject
from ...core.upload import Upload
from ...errors import Unavailable
from ..file_io import file_errors
from .files import copy_range
from .files import make_folders
from .files import remove
from .files import sync_directory
from .files import sync_file
from .files import sync_removals
from .paths import Paths

_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

Identity = tuple[int, int]  # device and inode


class MovedFiles:
    """Moves the files of one upload folder.

    :param is_durable: Whether moves must survive a power failure.
    """

    def __init__(self, paths: Paths, *, is_durable: bool) -> None:
        self._paths = paths
        self._is_durable = is_durable

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> JSONObject:
        """Implement :meth:`~flask_resumable.interfaces.capabilities.Moves.move`."""
        name = self._paths.chosen(target)
        path, source = os.path.join(self._paths.root, name), self._paths.published(upload)
        with file_errors:
            is_there, is_known = os.path.lexists(path), self._is_ours(upload, path)
            if is_there and _is_same_entry(path, source):
                return {"path": self._paths.name(upload)}
        if is_there and not is_known and not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if is_there and not is_known and os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not is_known:
            self._place(upload, source, path, overwrite=overwrite)
        return {"path": name}

    def _place(self, upload: Upload, source: str, path: str, *, overwrite: bool) -> None:
        with file_errors:
            if not os.path.exists(source):
                raise Unavailable from FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
            make_folders(os.path.dirname(path), is_durable=self._is_durable)
        is_taken = not self._is_placed(upload, source, path, overwrite=overwrite)
        if is_taken:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)

    def _is_placed(self, upload: Upload, source: str, path: str, *, overwrite: bool) -> bool:
        """Put the file there. Return whether that succeeded, which it does not if something else is there."""
        with file_errors:
            if not overwrite:
                self._note(upload, path, _identity(source))
                try:
                    os.link(source, path)
                    return self._synced(path)
                except FileExistsError:
                    return False
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
            temporary = os.path.join(os.path.dirname(path), f".{upload.stored_as}.moving")
            self._note(upload, temporary, None)
            self._make_temporary(source, temporary)
            self._note(upload, path, _identity(temporary))
            if not overwrite and not _is_renamed(temporary, path):
                remove(temporary)
                return False
            if overwrite:
                os.replace(temporary, path)
            return self._synced(path)

    def _make_temporary(self, source: str, temporary: str) -> None:
        """Link the file to another name, or copy it."""
        remove(temporary)  # left by a process that died
        try:
            return os.link(source, temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        with open(source, "rb") as origin, open(temporary, "xb") as copy:
            copy_range(origin.fileno(), copy.fileno(), 0, os.fstat(origin.fileno()).st_size)
            if self._is_durable:
                sync_file(copy.fileno())

    def _synced(self, path: str) -> bool:
        if self._is_durable:
            sync_directory(os.path.dirname(path))
        return True

    # --- the note ---

    def _note(self, upload: Upload, path: str, identity: Identity | None) -> None:
        """Note that a file is about to appear here. Without an identity, any file with this name is the upload's."""
        line = json.dumps([path, *(identity or ())]) + "\n"
        note = self._paths.moved(upload)
        is_new = not os.path.exists(note)
        make_folders(self._paths.work, is_durable=self._is_durable)
        descriptor = os.open(note, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.write(descriptor, line.encode())
            if self._is_durable:
                sync_file(descriptor)
        finally:
            os.close(descriptor)
        if is_new and self._is_durable:
            sync_directory(self._paths.work)

    def _noted(self, upload: Upload) -> Iterator[tuple[str, Identity | None]]:
        try:
            with open(self._paths.moved(upload), encoding="utf-8", errors="surrogateescape") as note:
                lines = note.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            with suppress(ValueError, TypeError):  # a power failure cut the line off before it mattered
                path, *identity = json.loads(line)
                yield path, (identity[0], identity[1]) if len(identity) == 2 else None

    def _is_ours(self, upload: Upload, path: str) -> bool:
        """Whether the upload's file is there already, from an earlier attempt."""
        with suppress(FileNotFoundError, NotADirectoryError):
            found = _identity(path)
            if os.path.exists(self._paths.published(upload)) and found == _identity(self._paths.published(upload)):
                return True
            return (path, found) in self._noted(upload)
        return False

    # --- afterwards ---

    def settle(self, upload: Upload) -> None:
        """Implement :meth:`~flask_resumable.interfaces.capabilities.Moves.settle_moves`."""
        with file_errors:
            kept = self._paths.current(upload)
            noted = list(self._noted(upload))
            if noted and os.path.exists(kept):
                removed = self._remove(noted, kept)
                published = self._paths.published(upload)
                if not _is_same_entry(published, kept) and remove(published):
                    removed.append(published)
                self._remove_note(upload, removed)

    def forget(self, upload: Upload) -> None:
        """Remove the file from all places that it may have been moved to."""
        with file_errors:
            self._remove_note(upload, self._remove(list(self._noted(upload)), None))

    def _remove_note(self, upload: Upload, removed: list[str]) -> None:
        """Remove the note, which lists files that were removed. After it, nothing knows about them."""
        if removed and self._is_durable:
            sync_removals(removed)
        remove(self._paths.moved(upload))

    @staticmethod
    def _remove(noted: list[tuple[str, Identity | None]], kept: str | None) -> list[str]:
        """Remove noted files, except the one to keep. Return those that were removed."""
        removed = []
        for path, identity in noted:
            with suppress(FileNotFoundError, NotADirectoryError):
                is_ours = identity is None or _identity(path) == identity
                if is_ours and (kept is None or not _is_same_entry(path, kept)) and remove(path):
                    removed.append(path)
        return removed


def _identity(path: str) -> Identity:
    found = os.stat(path, follow_symlinks=False)
    return found.st_dev, found.st_ino


def _is_same_entry(one: str, other: str) -> bool:
    """Whether two paths lead to the same name in the same folder, and not only to the same file."""
    if os.path.basename(one).casefold() != os.path.basename(other).casefold():
        return False
    try:
        return os.path.samefile(os.path.dirname(one), os.path.dirname(other))
    except FileNotFoundError:
        return False


def _is_renamed(temporary: str, path: str) -> bool:
    """Rename a file. Return whether that succeeded, which it does not if the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            return False
        os.rename(temporary, path)
    remove(temporary)
    return True
