"""The scenarios: which servers take part, what is sent to them, and which figures are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench import s3
from bench import slow
from bench.floor import floor
from bench.floor import HEAD
from bench.floor import HEAD_CPU
from bench.floor import UPLOAD
from bench.floor import UPLOAD_CPU
from bench.kinds import kind
from bench.kinds import LIMITS
from bench.requests import COLUMNS
from bench.requests import requests
from bench.runs import Figures
from bench.runs import Run
from bench.told import CPU
from bench.told import CPU_OF_DATABASE
from bench.told import ONE
from bench.told import RATE
from bench.told import told
from bench.units import KIB
from bench.units import MIB


@dataclass(frozen=True)
class Scenario:
    """What is done with each of some servers."""

    title: str
    servers: tuple[str, ...]
    columns: tuple[str, ...]  # the figures that the table shows
    run: Callable[[Run], Figures]
    in_memory: bool = False  # whether uploads are stored on a tmpfs, if there is one
    ratios: tuple[str, ...] | None = None  # figures also shown as multiples of the first row's; default: the first


def _big(run: Run) -> Figures:
    size = run.sizes.big
    warm = min(size, 64 * MIB)
    run.tus(uploads=1, size=warm, chunk=warm)
    return run.tus(uploads=1, size=size, chunk=size)[0]


def _framed(run: Run) -> Figures:
    size = run.sizes.big // 2
    run.tus(uploads=1, size=size // 16, chunk=size // 16, framed=True)
    return run.tus(uploads=1, size=size, chunk=size, framed=True)[0]


def _patches(run: Run) -> Figures:
    run.tus(uploads=1, size=16 * MIB, chunk=4 * MIB)
    return run.tus(uploads=1, size=run.sizes.patches, chunk=4 * MIB)[0]


def _small(run: Run) -> Figures:
    small = {"size": 10 * KIB, "chunk": 10 * KIB, "connections": 8}
    run.tus(uploads=max(8, run.sizes.small // 10), **small)
    figures, report = run.tus(uploads=run.sizes.small, **small)
    ids = [name for name, _, _ in report["stored"]][:100]
    asking: dict[str, Any] = {"url": run.server.url, "ids": ids, "connections": 8}
    run.measure("heads", count=max(8, run.sizes.heads // 10), **asking)
    heads, _ = run.measure("heads", count=run.sizes.heads, **asking)
    return figures | {
        "HEAD/s": heads["req/s"],
        "us/HEAD": heads["us/req"],
    }


def _many(run: Run) -> Figures:
    run.tus(uploads=32, size=MIB, chunk=MIB, connections=32)
    return run.tus(uploads=32, size=run.sizes.many, chunk=MIB, connections=32)[0]


def _flow(run: Run, mode: str) -> Figures:
    if mode not in kind(run.name).protocols:
        return {}
    run.flow(mode=mode, files=1, count=8, chunk=MIB, connections=3)
    return run.flow(mode=mode, files=1, count=run.sizes.flow, chunk=MIB, connections=3)[0]


PEERS = ("node", "tuspyserver", "tusd", "rustus")
_BYTES = ("cpu s/GiB", "MiB/s")
_BIG = (*_BYTES, "grown MiB", "peak MiB")
_PATCHES = ("ms/req", *_BYTES, "peak MiB")
_SMALL = ("req/s", "us/req", "HEAD/s", "us/HEAD", "peak MiB")
_S3_SERVERS = ("tusd-s3", "boto3", "gevent-s3", "gthread-s3")
_S3 = ("cpu s/GiB", "MiB/s", "peak MiB", "grown MiB", "store: cpu s/GiB")
_MANY = (*_BYTES, "ms/req", "peak MiB")


def _with_rows(database: str, title: str) -> Scenario:
    columns = (CPU, RATE, f"{ONE}{CPU}", f"{ONE}{RATE}")
    apart = (CPU_OF_DATABASE, f"{ONE}{CPU_OF_DATABASE}") if database != "sqlite" else ()  # SQLite runs within the app
    return Scenario(
        f"Uploads of 10 KiB, and a row for each in the app's {title}, 8 connections",
        tuple(f"{name}{workers}-{database}-rows" for name in ("tusd", "node", "gevent") for workers in ("", "-x2")),
        (*columns, *apart, "peak MiB"),
        told,
        in_memory=True,
        ratios=columns,
    )


SCENARIOS = {
    "told": _with_rows("sqlite", "SQLite database (WAL)"),
    "told-postgresql": _with_rows("postgresql", "PostgreSQL database"),
    "own": Scenario(
        "Each kind of request, with the embedded SQLite file and with the app's own model, 8 connections",
        ("gevent", "gevent-sqlite", "gevent-postgresql"),
        (*COLUMNS, "peak MiB"),
        requests,
        in_memory=True,
        ratios=COLUMNS,
    ),
    "floor": Scenario(
        "HEADs and 10 KiB uploads (POST + PATCH), beside empty Flask views on the same server, 8 connections",
        ("gthread", "pinned", "gevent", "granian", "granian-1"),
        (HEAD, HEAD_CPU, UPLOAD, UPLOAD_CPU, "HEAD/s", "empty view/s", "uploads/s", "two empty views/s"),
        floor,
        in_memory=True,
        ratios=(),
    ),
    "s3": Scenario(
        "Uploads of 64 MiB to S3 (versitygw), one after the other",
        _S3_SERVERS,
        _S3,
        s3.one,
        in_memory=True,
        ratios=_S3[:3],
    ),
    "s3-8": Scenario(
        "Eight uploads of 64 MiB to S3 (versitygw) at once, and how long HEADs and PATCHes of 64 KiB take meanwhile",
        _S3_SERVERS,
        (*_S3, "HEAD median ms", "HEAD 95 % ms", "PATCH median ms", "PATCH 95 % ms"),
        s3.eight,
        in_memory=True,
        ratios=_S3[:3],
    ),
    "big": Scenario("One large PATCH", (*LIMITS, "gthread", "gevent", "granian", *PEERS), _BIG, _big, in_memory=True),
    "framed": Scenario(
        "One large PATCH without Content-Length (Transfer-Encoding: chunked)",
        ("gthread", "gevent", "granian", "node", "tusd", "rustus"),  # tuspyserver needs a Content-Length
        _BIG,
        _framed,
        in_memory=True,
    ),
    "patches": Scenario(
        "PATCHes of 4 MiB on one connection",
        (*LIMITS, "gthread", "gevent", "granian", *PEERS),
        _PATCHES,
        _patches,
        in_memory=True,
    ),
    "small": Scenario(
        "Uploads of 10 KiB (POST + PATCH), then HEADs, 8 connections",
        ("c-splice", "gthread", "pinned", "gevent", "granian", "granian-1", *PEERS),
        _SMALL,
        _small,
        in_memory=True,
    ),
    "many": Scenario(
        "32 uploads at once, in PATCHes of 1 MiB",
        ("c-splice", "gthread", "pinned", "gevent", "granian", *PEERS),
        _MANY,
        _many,
        in_memory=True,
    ),
    "flow": Scenario(
        "flow.js: forms of 1 MiB chunks, 3 connections, out of order",
        ("gthread", "pinned", "gevent", "granian", "flowjs"),
        _MANY,
        lambda run: _flow(run, "form"),
        in_memory=True,
    ),
    "octet": Scenario(
        "flow.js: the same chunks as plain bodies (octet)",
        ("c-splice", "gthread", "gevent", "granian"),
        _MANY,
        lambda run: _flow(run, "octet"),
        in_memory=True,
    ),
    "slow": Scenario(
        "500 clients at 32 KiB/s, and HEADs and creations beside them",
        slow.SERVERS,
        slow.COLUMNS,
        lambda run: slow.slow(run, 500),
        in_memory=True,
    ),
    "slow-2000": Scenario(
        "2,000 clients at 32 KiB/s, and HEADs and creations beside them",
        slow.SERVERS,
        slow.COLUMNS,
        lambda run: slow.slow(run, 2000),
        in_memory=True,
    ),
    "big-disk": Scenario(
        "One large PATCH, on the disk",
        (*LIMITS, "gthread", "gthread-none", "gevent", "gevent-none", *PEERS),
        _BIG,
        _big,
    ),
    "patches-disk": Scenario(
        "PATCHes of 4 MiB, on the disk",
        ("c-splice", "gthread-none", "gthread", "gthread-full", "gevent-none", "gevent", *PEERS),
        _PATCHES,
        _patches,
    ),
    "small-disk": Scenario(
        "Uploads of 10 KiB, on the disk",
        ("gthread-none", "gthread", "gevent-none", "gevent", "granian-1-none", "granian-1", *PEERS),
        _SMALL,
        _small,
    ),
    "many-disk": Scenario(
        "32 uploads at once, on the disk",
        ("gthread-none", "gthread", "gevent-none", "gevent", *PEERS),
        _MANY,
        _many,
    ),
    "flow-disk": Scenario(
        "flow.js: forms of 1 MiB chunks, on the disk",
        ("gthread-none", "gthread", "gthread-none-folder", "gevent-none", "gevent", "flowjs"),
        _MANY,
        lambda run: _flow(run, "form"),
    ),
}
