"""Uploads to a store that speaks S3, and what other clients wait meanwhile."""

from __future__ import annotations

import itertools
from statistics import quantiles
from typing import Any

from bench.kinds import kind
from bench.runs import Figures
from bench.runs import Run
from bench.units import GIB
from bench.units import KIB
from bench.units import MIB

_numbers = itertools.count(1)


def one(run: Run) -> Figures:
    """Uploads one after the other, each in one PATCH."""
    return _sent(run, run.sizes.s3_uploads, 1)


def eight(run: Run) -> Figures:
    """Eight uploads at once, and the time that HEADs and small PATCHes take beside eight others."""
    figures = _sent(run, 8, 8)
    if "tus" not in kind(run.name).protocols:
        return figures
    with run.probing("latency", url=run.server.url, size=GIB, chunk=64 * KIB) as probe:
        _sent(run, 8, 8)
    for method in ("HEAD", "PATCH"):
        cuts = quantiles(probe[method], n=20, method="inclusive")
        figures |= {f"{method} median ms": cuts[9] * 1e3, f"{method} 95 % ms": cuts[-1] * 1e3}
    return figures


def _sent(run: Run, uploads: int, connections: int) -> Figures:
    size = run.sizes.s3
    _send(run, connections, min(size, 16 * MIB), connections)
    figures = _send(run, uploads, size, connections)
    return figures | {"store: cpu s/GiB": figures["backend cpu"] / (uploads * size) * GIB}


def _send(run: Run, uploads: int, size: int, connections: int) -> Figures:
    if "tus" in kind(run.name).protocols:
        figures, report = run.tus(uploads=uploads, size=size, chunk=size, connections=connections)
    else:
        names = [str(next(_numbers)) for _ in range(uploads)]
        options: dict[str, Any] = {"url": "/", "names": names, "size": size, "connections": connections}
        run.measure("put", upload=False, **options)
        figures, report = run.measure("put", volume=uploads * size, upload=True, **options)
    run.remove(report)
    return figures
