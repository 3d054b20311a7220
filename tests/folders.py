"""Folders in memory, where a sync costs nothing. A process that is killed leaves the same behind there as on a disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

MEMORY = Path("/dev/shm")  # on Linux
ROOM = 2**30  # bytes that must be free; in a container, there are often only 64 MiB in all


def has_memory() -> bool:
    """Whether this system has such folders, and room for what tests write."""
    return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM


@contextmanager
def quick_folder(otherwise: Path) -> Iterator[Path]:
    """A folder in memory until the context ends, or ``otherwise`` if there is none."""
    if not has_memory():
        yield otherwise
        return
    with TemporaryDirectory(prefix="resumable-", dir=MEMORY) as folder:
        yield Path(folder)
