"""Folders in which disks are mounted. They are removed with all that is mounted in them, also if a run was killed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path

from flask_resumable.processes import is_dead
from flask_resumable.processes import is_here
from flask_resumable.processes import ProcessName
from tests.folders import has_memory
from tests.folders import MEMORY

from .commands import run_command
from .commands import unmount

_PREFIX = "power-"
_OWNER = "owner"  # a file that names the process that uses the folder
_OLD = 86400.0  # seconds after which a folder whose process cannot be seen is left behind
_MOUNTS = Path("/proc/self/mountinfo")
_DEVICES = Path("/sys/block")


@contextmanager
def scratch(parent: Path | None) -> Iterator[Path]:
    """Make a folder, and remove it with everything that is mounted in it when the context ends."""
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=_PREFIX)).resolve()
    try:
        (folder / _OWNER).write_text(str(ProcessName()))
        yield folder
    finally:
        _clear(folder)


def quick_parent() -> Path | None:
    """Where to make folders whose content should be in memory."""
    return MEMORY if has_memory() else None


def remove_leftovers(parents: Iterable[Path | None]) -> None:
    """Remove the folders of runs that were killed."""
    for parent in {parent or Path(tempfile.gettempdir()) for parent in parents}:
        for folder in parent.glob(f"{_PREFIX}*"):
            if _is_left_behind(folder):
                _clear(folder.resolve())


def _is_left_behind(folder: Path) -> bool:
    try:
        owner = (folder / _OWNER).read_text()
    except OSError:
        owner = ""
    if is_here(owner):
        return is_dead(owner)
    with suppress(OSError):
        return folder.stat().st_mtime < time.time() - _OLD
    return False


def _clear(folder: Path) -> None:
    """Unmount file systems, detach their loop devices, end the disks that these were on, and remove the folder."""
    mounts = list(_mounts_below(folder))
    _unmount_all(point for point, kind in reversed(mounts) if not kind.startswith("fuse"))
    for device in _devices_below(folder):
        with suppress(subprocess.CalledProcessError):  # it is gone when the last file is closed
            run_command("losetup", "--detach", device)
    _unmount_all(point for point, kind in reversed(mounts) if kind.startswith("fuse"))  # ends nbdfuse, and so nbdkit
    shutil.rmtree(folder, ignore_errors=True)


def _unmount_all(points: Iterable[Path]) -> None:
    for point in points:
        with suppress(subprocess.CalledProcessError):  # it was in use, and goes when it is not
            unmount(point)


def _mounts_below(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield mount points and their kinds of file system, in the order in which they were mounted."""
    for line in _MOUNTS.read_text().splitlines():
        fields, _, more = line.partition(" - ")
        point = Path(fields.split()[4].encode().decode("unicode_escape"))  # a space is \\040
        if point.is_relative_to(folder):
            yield point, more.split()[0]


def _devices_below(folder: Path) -> Iterator[str]:
    """Yield loop devices whose file is in a folder."""
    for file in _DEVICES.glob("loop*/loop/backing_file"):
        with suppress(OSError):
            if Path(file.read_text().strip()).is_relative_to(folder):
                yield f"/dev/{file.parts[3]}"
