"""Many clients on slow lines: what each costs, and what others notice of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from bench.kinds import is_ours
from bench.runs import Figures
from bench.runs import Run
from bench.units import KIB
from bench.units import MIB

PIECE = 16 * KIB
PIECES = 2  # a second
SERVERS = ("gevent", "gthread", "gthread-1000", "node", "tuspyserver", "tusd", "rustus")
COLUMNS = ("cpu", "us/piece", "KiB/client", "HEAD p50 ms", "HEAD p99 ms", "POST p99 ms", "updates", "late")


def slow(run: Run, clients: int) -> Figures:
    """Some hundred clients, each at 32 KiB/s."""
    clients = max(4, clients * run.sizes.slow // 16)
    paced: dict[str, Any] = {"url": run.server.url, "piece": PIECE, "pieces": PIECES}
    run.measure("slow", clients=min(32, clients), seconds=2, beside=False, **paced)
    figures, report = run.measure("slow", clients=clients, seconds=run.sizes.slow, beside=True, **paced)
    found = {
        "us/piece": figures["us/req"],
        "KiB/client": figures["grown MiB"] * MIB / KIB / clients,
        "late": figures["seconds"] - run.sizes.slow * 1.5,
        "updates": _updates(run, [name for name, _, _ in report["stored"]]),
    }
    for method in ("HEAD", "POST"):
        for share in (50, 99):
            found[f"{method} p{share} ms"] = percentile(report[method], share) * 1e3
    return figures | found


def percentile(values: list[float], share: int) -> float:
    """Return the value that this share of them, in percent, does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]


def _updates(run: Run, names: list[str]) -> float:
    """Return how often a record was updated, on average. Each update adds one to its version, which starts at one."""
    if not is_ours(run.name):
        return float("nan")
    (path,) = run.server.uploads.parent.rglob("*.sqlite")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        versions = dict(connection.execute("SELECT id, version FROM resumable_uploads").fetchall())
    return float(sum(versions[name] - 1 for name in names) / len(names))
