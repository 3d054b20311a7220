"""Unfinished files that nobody has touched for long: a record may have gone without them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from ...core.ids import ID_PATTERN

_SUFFIXES = ("part", "lock", "moved")
_WORK_FILE = re.compile(rf"({ID_PATTERN.pattern})\.({'|'.join(_SUFFIXES)})")


def orphans(folder: Path, older_than: float) -> Iterator[tuple[str, Callable[[], int]]]:
    """Uploads whose files were last touched before ``older_than``, in seconds since 1970, and how to remove these.

    The callable returns how many bytes that freed.
    """
    if not folder.is_dir():
        return
    seen: set[str] = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _WORK_FILE.fullmatch(entry.name)
            if match and match[1] not in seen and _last_touched(folder, match[1]) < older_than:
                seen.add(match[1])
                yield match[1], partial(_remove, folder, match[1])


def _last_touched(folder: Path, upload_id: str) -> float:
    times: list[float] = []
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            times.append((folder / f"{upload_id}.{suffix}").stat().st_mtime)
    return max(times, default=math.inf)  # if they have gone meanwhile, there is nothing to remove


def _remove(folder: Path, upload_id: str) -> int:
    freed = 0
    for suffix in _SUFFIXES:
        path = folder / f"{upload_id}.{suffix}"
        with suppress(FileNotFoundError):
            freed += path.stat().st_size if suffix == "part" else 0
            path.unlink()
    return freed
