"""Finds unfinished files that have not changed for a long time, whose record may be gone."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from ...core.ids import NAME_PATTERN

_SUFFIXES = ("part", "lock", "moved")
_CHUNK_LOCK = r"lock\.[0-9]+"  # left by a process that died
_WORK_FILE = re.compile(rf"(?P<name>{NAME_PATTERN.pattern})\.({'|'.join(_SUFFIXES)}|{_CHUNK_LOCK})")


def orphans(folder: Path, older_than: float) -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield uploads whose files were last changed before ``older_than``, in seconds since 1970.

    Each item is the name of the bytes and a callable that removes the files and returns how many bytes it freed.
    """
    if not folder.is_dir():
        return
    locks = _chunk_locks(folder)
    seen: set[str] = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _WORK_FILE.fullmatch(entry.name)
            if match and match["name"] not in seen:
                name = match["name"]
                files = [folder / f"{name}.{suffix}" for suffix in (*_SUFFIXES, *locks.get(name, ()))]
                if _last_touched(files) < older_than:
                    seen.add(name)
                    yield name, partial(_remove, files)


def _chunk_locks(folder: Path) -> dict[str, list[str]]:
    """Return the suffixes of chunk locks by upload. They exist only while in use, or after their process has died."""
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            name, _, suffix = entry.name.partition(".")
            if re.fullmatch(_CHUNK_LOCK, suffix):
                found.setdefault(name, []).append(suffix)
    return found


def _last_touched(files: Iterable[Path]) -> float:
    times: list[float] = []
    for file in files:
        with suppress(FileNotFoundError):
            times.append(file.stat().st_mtime)
    return max(times, default=math.inf)  # without files, there is nothing to remove


def _remove(files: Iterable[Path]) -> int:
    freed = 0
    for file in files:
        with suppress(FileNotFoundError):
            freed += file.stat().st_size if file.suffix == ".part" else 0
            file.unlink()
    return freed
