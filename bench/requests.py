"""What one request of each kind costs: on the embedded SQLite file, and with a model in the app's own database."""

from __future__ import annotations

from typing import Any

from bench.runs import Figures
from bench.runs import Run
from bench.units import KIB

COLUMNS = ("us/HEAD", "us/POST", "us/PATCH", "us/last PATCH")
_PIECE = 10 * KIB  # each upload is two of them


def requests(run: Run) -> Figures:
    """The CPU of each kind of request: the first PATCH of an upload, and the one that completes it."""
    _requests(run, max(8, run.sizes.requests // 10))
    return _requests(run, run.sizes.requests)


def _requests(run: Run, count: int) -> Figures:
    common: dict[str, Any] = {"url": run.server.url, "connections": 8}
    post, report = run.measure("create", uploads=count, size=2 * _PIECE, **common)
    uploads = report["uploads"]
    ids = [path.rpartition("/")[2] for path, _ in uploads]
    head, _ = run.measure("heads", ids=ids, count=4 * count, **common)
    first, _ = run.measure("patch", uploads=uploads, start=0, size=_PIECE, last=False, **common)
    last, _ = run.measure("patch", uploads=uploads, start=_PIECE, size=_PIECE, last=True, **common)
    figures = dict(zip(COLUMNS, (figures["us/req"] for figures in (head, post, first, last)), strict=True))
    return {**figures, "peak MiB": last["peak MiB"]}
