"""Unfinished files that nobody has touched for long: a record may have gone without them."""

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

from ...core.ids import ID_PATTERN

_SUFFIXES = ("part", "lock", "moved")
_CHUNK_LOCK = r"lock\.[0-9]+"  # of a process that has died
_WORK_FILE = re.compile(rf"({ID_PATTERN.pattern})\.({'|'.join(_SUFFIXES)}|{_CHUNK_LOCK})")


def orphans(folder: Path, older_than: float) -> Iterator[tuple[str, Callable[[], int]]]:
    """Uploads whose files were last touched before ``older_than``, in seconds since 1970, and how to remove these.

    The callable returns how many bytes that freed.
    """
    if not folder.is_dir():
        return
    locks = _chunk_locks(folder)
    seen: set[str] = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _WORK_FILE.fullmatch(entry.name)
            if match and match[1] not in seen:
                files = [folder / f"{match[1]}.{suffix}" for suffix in (*_SUFFIXES, *locks.get(match[1], ()))]
                if _last_touched(files) < older_than:
                    seen.add(match[1])
                    yield match[1], partial(_remove, files)


def _chunk_locks(folder: Path) -> dict[str, list[str]]:
    """The suffixes of chunk locks, by upload. Only those that are held just now, or whose process has died, exist."""
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            upload_id, _, suffix = entry.name.partition(".")
            if re.fullmatch(_CHUNK_LOCK, suffix):
                found.setdefault(upload_id, []).append(suffix)
    return found


def _last_touched(files: Iterable[Path]) -> float:
    times: list[float] = []
    for file in files:
        with suppress(FileNotFoundError):
            times.append(file.stat().st_mtime)
    return max(times, default=math.inf)  # if they have gone meanwhile, there is nothing to remove


def _remove(files: Iterable[Path]) -> int:
    freed = 0
    for file in files:
        with suppress(FileNotFoundError):
            freed += file.stat().st_size if file.suffix == ".part" else 0
            file.unlink()
    return freed
