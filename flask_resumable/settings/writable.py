"""Finds out at startup whether folders and files can be written, without leaving anything there."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

_ACCESS = {"effective_ids": True} if os.access in os.supports_effective_ids else {}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something cannot be written. ``passes`` says that this may change while the app runs."""

    text: str
    passes: bool = False


def problem_with_folder(path: str) -> Problem | None:
    """Return why files cannot be created in a folder, which is created on first use. ``None`` if they can."""
    path = folder = os.path.abspath(path)  # the parents of a relative path end with "", which never exists
    while not os.path.exists(folder):
        if os.path.islink(folder):
            return Problem(f"{folder} is a link to something that does not exist")
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        return Problem(f"{folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK, **_ACCESS):
        return Problem(f"{_subject(folder, path)} cannot be written by this process (user {os.geteuid()})")
    try:
        _try_to_create(folder)
    except OSError as error:
        if error.errno in _FULL or error.errno in _REFUSED:
            text = f"{_subject(folder, path)} cannot be written: {error.strerror}"
            return Problem(text, passes=error.errno in _FULL)
    return None


def problem_with_file(path: str) -> Problem | None:
    """Return why a database file cannot be written. Its folder must be writable, too, for the journal."""
    if os.path.isdir(path):
        return Problem(f"{path} is a folder, not a file")
    if os.path.exists(path) and not os.access(path, os.W_OK, **_ACCESS):
        return Problem(f"{path} cannot be written by this process (user {os.geteuid()})")
    return problem_with_folder(os.path.dirname(os.path.abspath(path)))


def _subject(folder: str, path: str) -> str:
    return folder if folder == path else f"{path} does not exist, and {folder}"


def _try_to_create(folder: str) -> None:
    """Create a file without a name, where the system can. It shows read-only file systems, full disks and quotas."""
    if hasattr(os, "O_TMPFILE"):
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
