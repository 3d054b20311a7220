"""What this package adds to Flask: requests beside those to views of the same app that do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.runs import Figures
from bench.runs import Run
from bench.units import KIB

HEAD, UPLOAD = "HEAD/s, beside an empty view", "uploads/s, beside two empty views"
HEAD_CPU, UPLOAD_CPU = "HEAD: cpu, beside an empty view", "upload: cpu, beside two empty views"
_TURNS = 3  # of each kind of request, so that both see the same changes of the machine


def floor(run: Run) -> Figures:
    """HEADs and uploads in two requests, each in turns with the same requests to empty views."""
    count = run.sizes.floor
    _heads(run, max(8, count // 5))
    _uploads(run, max(8, count // 10))
    return _heads(run, count * 2) | _uploads(run, count)


def _heads(run: Run, count: int) -> Figures:
    common: dict[str, Any] = {"count": count // _TURNS, "connections": 8}
    _, report = run.tus(uploads=1, size=10 * KIB, chunk=10 * KIB)
    ids = [report["stored"][0][0]]
    head, empty = _in_turns(
        lambda: run.measure("heads", url=run.server.url, ids=ids, **common)[0],
        lambda: run.measure("heads", url="/", ids=["empty"], **common)[0],
    )
    done = common["count"] * _TURNS
    rates = {"HEAD/s": done / head["seconds"], "empty view/s": done / empty["seconds"]}
    return {**rates, HEAD: empty["seconds"] / head["seconds"], HEAD_CPU: head["cpu"] / (empty["cpu"] or 1)}


def _uploads(run: Run, count: int) -> Figures:
    common: dict[str, Any] = {"size": 10 * KIB, "connections": 8}
    upload, empty = _in_turns(
        lambda: run.tus(uploads=count // _TURNS, chunk=10 * KIB, **common)[0],
        lambda: run.measure("empty", url="/empty", count=count // _TURNS, **common)[0],
    )
    done = count // _TURNS * _TURNS
    rates = {"uploads/s": done / upload["seconds"], "two empty views/s": done / empty["seconds"]}
    return {**rates, UPLOAD: empty["seconds"] / upload["seconds"], UPLOAD_CPU: upload["cpu"] / (empty["cpu"] or 1)}


def _in_turns(*ways: Callable[[], Figures]) -> list[Figures]:
    """The sums of seconds and CPU of each way."""
    sums: list[Figures] = [{"seconds": 0.0, "cpu": 0.0} for _ in ways]
    for _ in range(_TURNS):
        for way, total in zip(ways, sums, strict=True):
            figures = way()
            for name in total:
                total[name] += figures[name]
    return sums
