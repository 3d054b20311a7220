"""A disk whose operations are recorded, with a file system on it, and images of it, mounted.

nbdkit is the disk, nbdfuse shows it as a file, and a loop device makes a block device of that. Everything that the file
system writes or flushes goes through ``recorder.py``.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import time
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import ExitStack
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .commands import PATIENCE
from .commands import run_command
from .commands import unmount
from .recording import Recording
from .scratch import scratch

RECORDER = Path(__file__).with_name("recorder.py")
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class FileSystem:
    """How to make and mount a file system.

    :param size: Of the disk, in MiB.
    :param make: The command that makes it, without the device.
    :param image_options: How images are mounted, of which several may be there at a time.
    """

    name: str
    size: int
    make: tuple[str, ...]
    options: str = "noatime"
    image_options: str = "noatime"
    is_unique: bool = False  # whether two images of the same file system cannot be mounted at the same time


FILE_SYSTEMS = {
    one.name: one
    for one in (
        FileSystem("ext4", 64, ("mkfs.ext4", "-q", "-b", "4096", "-E", "nodiscard,lazy_itable_init=1")),
        FileSystem("xfs", 300, ("mkfs.xfs", "-q", "-K"), image_options="noatime,nouuid"),
        FileSystem("btrfs", 128, ("mkfs.btrfs", "-q", "-K", "-m", "single"), is_unique=True),
    )
}


class Unavailable(Exception):
    """This machine cannot record a disk; the message says what is missing."""


class RecordedDisk:
    """A mounted file system whose disk is recorded."""

    def __init__(self, mounted: Path, log: Path, size: int, counter: mmap.mmap) -> None:
        self.mounted = mounted
        self._log = log
        self._size = size
        self._counter = counter

    @property
    def count(self) -> int:
        """The number of operations so far."""
        return int.from_bytes(self._counter[:8], "little")

    def sync(self) -> None:
        """Write out and flush everything."""
        descriptor = os.open(self.mounted, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
                raise OSError(ctypes.get_errno(), "syncfs")
        finally:
            os.close(descriptor)

    def recording(self, start: int) -> Recording:
        """Return what was recorded. Call it when the disk is unmounted."""
        return Recording.read(self._log, self._size, start)


@contextmanager
def recorded_disk(kind: FileSystem, folder: Path) -> Iterator[RecordedDisk]:
    """Make a file system on a recorded disk, and mount it within the context.

    :param folder: An empty folder for the disk's files.
    :raises Unavailable: This machine cannot do that.
    """
    log, count, exposed, mounted = (folder / name for name in ("log", "count", "disk", "mounted"))
    log.touch()
    exposed.touch()
    count.write_bytes(bytes(8))
    mounted.mkdir()
    size = kind.size * _MEBIBYTE
    with ExitStack() as stack:
        with count.open("r+b") as file:
            counter = mmap.mmap(file.fileno(), 8)
        settings = (f"size={size}", f"log={log}", f"count={count}")
        nbdkit = ("nbdkit", "-s", "--exit-with-parent", "python", str(RECORDER), *settings)
        # A Ctrl-C at a terminal reaches all processes of its group, and would end the disk before it is unmounted.
        process = subprocess.Popen(["nbdfuse", str(exposed), "--command", *nbdkit], start_new_session=True)
        stack.callback(_end, process, exposed)
        _await_size(process, exposed, size)
        device = run_command("losetup", "--find", "--show", str(exposed)).strip()
        stack.callback(run_command, "losetup", "--detach", device)
        run_command(*kind.make, device)
        run_command("mount", "-t", kind.name, "-o", kind.options, device, str(mounted))
        stack.callback(unmount, mounted)
        yield RecordedDisk(mounted, log, size, counter)


@contextmanager
def mounted_image(kind: FileSystem, file: Path, folder: Path) -> Iterator[None]:
    """Mount an image, as the system does when it starts after a loss of power."""
    run_command("mount", "-t", kind.name, "-o", f"loop,{kind.image_options}", str(file), str(folder))
    try:
        yield
    finally:
        unmount(folder)


def why_not(kinds: Iterable[str] = ("ext4",)) -> str | None:
    """Return why this machine cannot lose power; ``None`` if it can. Programs are not looked for."""
    if os.geteuid() != 0:
        return "only root can mount file systems"
    known = Path("/proc/filesystems").read_text().split()
    for kind in kinds:
        if kind not in known:
            return f"this kernel has no {kind}"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    try:
        with scratch(None) as folder:
            image, mounted = folder / "image", folder / "mounted"
            mounted.mkdir()
            with image.open("wb") as file:
                file.truncate(2 * _MEBIBYTE)
            run_command("mkfs.ext4", "-q", str(image))
            with mounted_image(FILE_SYSTEMS["ext4"], image, mounted):
                pass
    except subprocess.CalledProcessError as error:
        return f"no image can be mounted: {' '.join(str(error.stderr).split())}"
    return None


def _end(process: subprocess.Popen[bytes], exposed: Path) -> None:
    with suppress(subprocess.CalledProcessError):
        run_command("umount", str(exposed))
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_size(process: subprocess.Popen[bytes], exposed: Path, size: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while exposed.stat().st_size != size:
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unavailable(f"nbdfuse did not show the disk (exit status {process.poll()})")
        time.sleep(0.01)
