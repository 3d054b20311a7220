"""Small uploads of which the app is told, with a row for each in its own database."""

from __future__ import annotations

from typing import Any

from bench.runs import Figures
from bench.runs import Run
from bench.units import KIB

CPU, RATE, CPU_OF_DATABASE = "cpu ms/upload", "uploads/s", "database: cpu ms/upload"
ONE = "one request: "  # before the name of a figure: creation-with-upload, instead of POST and PATCH


def told(run: Run) -> Figures:
    """Uploads in two requests, then in one."""
    return _told(run, "", "tus", chunk=10 * KIB) | _told(run, ONE, "with_creation")


def _told(run: Run, prefix: str, script: str, **options: Any) -> Figures:
    options |= {"url": run.server.url, "size": 10 * KIB, "connections": 8}
    count = run.sizes.told
    run.measure(script, rows=True, uploads=max(8, count // 10), **options)
    figures, _ = run.measure(script, rows=True, uploads=count, **options)
    return {
        f"{prefix}{CPU}": figures["cpu"] / count * 1e3,
        f"{prefix}{RATE}": count / figures["seconds"],
        f"{prefix}{CPU_OF_DATABASE}": figures["backend cpu"] / count * 1e3,
        "peak MiB": figures["peak MiB"],
    }
