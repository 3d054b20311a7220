"""Checks whether an upload folder can be used."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from datetime import UTC

from ...core.health import CheckResult
from ...core.health import clock_result
from ...core.health import ERROR
from ...core.health import OK
from ...core.health import WARNING
from .paths import Paths

_FULL = 0.95  # of the files that the disk can have

_NO_PERMISSION = "The upload folder cannot be written to: make this process's user its owner, or give it the rights."
_READ_ONLY = "The upload folder is on a read-only file system: mount it for writing, or set UPLOAD_DIR."
_DISK_FULL = "The disk of the upload folder is full: remove files, or enlarge the disk."
_TWO_FILE_SYSTEMS = "The upload folder and its folder .partial are on two file systems: put them on one."
_NOT_A_FOLDER = "A file is in the place of the upload folder: remove it, or set UPLOAD_DIR."
_ADVICE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), (_NO_PERMISSION, "no_permission")),
    errno.EROFS: (_READ_ONLY, "read_only"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), (_DISK_FULL, "disk_full")),
    errno.EXDEV: (_TWO_FILE_SYSTEMS, "two_file_systems"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), (_NOT_A_FOLDER, "not_a_folder")),
}


def check(paths: Paths, now: datetime, min_free_space: int | None) -> Iterator[CheckResult]:
    """Yield what is found about the folder, the clock of its file system, and its free space."""
    name = f"check-{secrets.token_hex(8)}"
    before, after = os.path.join(paths.work, name), os.path.join(paths.root, f".{name}")
    try:
        os.makedirs(paths.work, exist_ok=True)
        try:
            with open(before, "xb") as file:
                file.write(b"x")
            written_at = os.stat(before).st_mtime
            os.rename(before, after)
        finally:
            for path in (before, after):
                with suppress(OSError):
                    os.unlink(path)
    except OSError as error:
        yield CheckResult("folder", ERROR, *_advice(error))
    else:
        yield CheckResult("folder", OK, "Files can be written to the upload folder and renamed.")
        yield clock_result("clock", "the upload folder", datetime.fromtimestamp(written_at, UTC), now, now)
    with suppress(OSError):  # then the folder is already known to be unusable
        yield _space(paths, min_free_space or 0)


def _space(paths: Paths, min_free_space: int) -> CheckResult:
    disk = os.statvfs(paths.work)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free <= min_free_space:
        text = f"{free} bytes are free, and {min_free_space} must stay free: remove files, or enlarge the disk."
        return CheckResult("free space", ERROR, text, "too_little_space")
    if disk.f_files and disk.f_favail < (1 - _FULL) * disk.f_files:
        text = "The disk can hold few more files: remove some, or enlarge the disk."
        return CheckResult("free space", WARNING, text, "few_files_left")
    return CheckResult("free space", OK, f"{free} bytes are free." if disk.f_blocks else "The disk has no fixed size.")


def _advice(error: OSError) -> tuple[str, str]:
    """Return what to do, and the code."""
    name = errno.errorcode.get(error.errno or 0, "unknown")
    other = f"The upload folder cannot be used ({name}): check its disk.", "folder_unusable"
    return _ADVICE.get(error.errno or 0, other)
