"""Whether costs grow: of a byte with the size of an upload, of a chunk or a record with their number."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.kinds import kind
from bench.kinds import LIMIT
from bench.programs import ROOT
from bench.records import fill
from bench.runs import Figures
from bench.runs import measuring
from bench.runs import Run
from bench.runs import Sizes
from bench.tables import Table
from bench.units import GIB
from bench.units import KIB
from bench.units import MIB

_CHUNK = 16 * KIB
_COSTS = ("us/HEAD", "us/req")


def sizes(name: str, home: Path, content: Path, wanted: Sizes) -> Iterator[Table]:
    """The cost of a byte in small and large uploads, each in one PATCH, beside the bare loop."""
    table = Table(
        f"Growth: cost of a byte with the size of an upload ({kind(name).title})",
        (
            "size",
            "uploads",
            "cpu ms each",
            "cpu s/GiB",
            "beyond that of 10 KiB",
            "bare loop: cpu s/GiB",
            "MiB/s",
            "grown MiB",
        ),
    )
    bare = LIMIT if shutil.which("gcc") or shutil.which("cc") else "py-splice"
    with (
        measuring(name, home / "ours", content, wanted) as run,
        measuring(bare, home / "bare", content, wanted) as limit,
    ):
        few = min(200, wanted.small)
        fixed = _uploads(run, 10 * KIB, few)["cpu"] / few
        for size in wanted.growth:
            count = max(1, min(256, min(GIB, wanted.growth[-1]) // size))
            figures, least = _uploads(run, size, count), _uploads(limit, size, count)
            each = figures["cpu"] / count
            costs = (each * 1000, figures["cpu s/GiB"], max(0.0, each - fixed) / size * GIB, least["cpu s/GiB"])
            table.rows.append((f"{size // MIB:,} MiB", str(count), *costs, figures["MiB/s"], figures["grown MiB"]))
    yield table


def _uploads(run: Run, size: int, count: int) -> Figures:
    figures, report = run.tus(uploads=count, size=size, chunk=size)
    run.remove(report)
    return figures


def chunks(name: str, home: Path, content: Path, wanted: Sizes) -> Iterator[Table]:
    """The cost of a chunk in uploads of few and of many. With an app's own database, only the fewest and the most."""
    counts = wanted.chunks if kind(name).database is None else (wanted.chunks[0], wanted.chunks[-1])
    table = Table(
        f"Growth: cost of a chunk of 16 KiB with their number, CPU ms ({kind(name).title})",
        ("chunks of an upload", "tus PATCH", "flow.js form, 3 connections", "flow.js form, in no order at all"),
    )
    with measuring(name, home, content, wanted) as run:
        run.tus(uploads=1, size=_CHUNK * 20, chunk=_CHUNK)
        run.flow(mode="form", files=1, count=20, chunk=_CHUNK, connections=3)
        for count in counts:
            files = max(1, min(1000, wanted.chunks[-1]) // count)
            tus, report = run.tus(uploads=files, size=_CHUNK * count, chunk=_CHUNK)
            run.remove(report)
            row: list[object] = [f"{count:,}", tus["cpu"] / files / count * 1000]
            for shuffled in (False, True):
                flow, report = run.flow(
                    mode="form", files=files, count=count, chunk=_CHUNK, connections=3, shuffled=shuffled
                )
                run.remove(report)
                row.append(flow["ms/req"])
            table.rows.append(row)
    pairs = zip(table.rows[-1][1:], table.rows[0][1:], strict=True)
    beside = [f"{float(str(most)) / (float(str(few)) or 1):.2f}x" for most, few in pairs]
    table.rows.append(("the last row beside the first", *beside))
    yield table


def records(name: str, home: Path, content: Path, wanted: Sizes) -> Iterator[Table]:
    """The cost of HEADs and small uploads among few records and among many, and SQLite's query plans."""
    many = f"{wanted.records:,} records"
    table = Table(
        f"Growth: HEAD and 10 KiB uploads with the number of records ({kind(name).title})",
        ("records", "HEAD/s", "us/HEAD", "upload req/s", "us/req", *(f"{it}, beside the first row" for it in _COSTS)),
    )
    with measuring(name, home, content, wanted) as run:
        small = {"size": 10 * KIB, "chunk": 10 * KIB, "connections": 8}
        _, report = run.tus(uploads=1, **small)
        [[first, _, _]] = report["stored"]
        asking: dict[str, Any] = {"url": run.server.url, "ids": [first], "connections": 8}
        run.measure("heads", count=wanted.heads // 10 or 1, **asking)
        few: tuple[float, float] | None = None
        for title in ("1 record", many):
            if title == many:
                fill(run.server.database.engine, first, wanted.records)
            heads, _ = run.measure("heads", count=wanted.heads, **asking)
            uploads, _ = run.tus(uploads=max(1, wanted.small // 4), **small)
            costs = (heads["us/req"], uploads["us/req"])
            few = few or costs
            beside = [f"{cost / (least or 1):.2f}x" for cost, least in zip(costs, few, strict=True)]
            table.rows.append((title, heads["req/s"], costs[0], uploads["req/s"], costs[1], *beside))
    yield table
    if kind(name).database is None:
        yield _plans(home, many)


def _plans(home: Path, many: str) -> Table:
    env = {**os.environ, "BENCH_HOME": str(home)}
    done = subprocess.run([sys.executable, "-m", "bench.plans"], env=env, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    table = Table(f"Query plans on SQLite, with {many}", ("request", "statement", "plan"))
    for request, statement, plan in json.loads(done.stdout):
        table.rows.append((request, f"`{statement}`", plan))
    return table
