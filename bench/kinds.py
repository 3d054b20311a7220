"""The names of servers, and what a name says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field

from bench.databases import TITLES

_OURS = re.compile(
    r"(?P<worker>gthread|pinned|gevent|granian|sync)(?:-x(?P<workers>\d))?(?:-(?P<threads>\d+))?"
    r"(?:-(?P<durability>none|data|full))?(?P<folder>-folder)?"
    r"(?:-(?P<database>sqlite|postgresql|mariadb)(?P<rows>-rows)?)?(?P<s3>-s3)?"
)
_TELLING = re.compile(r"(?P<server>tusd|node)(?:-x(?P<workers>\d))?-(?P<database>sqlite|postgresql|mariadb)-rows")
_THREADS = {"gthread": 16, "pinned": 4, "granian": 16}


@dataclass(frozen=True)
class Kind:
    """What is known of a server before it is started."""

    title: str
    protocols: frozenset[str] = frozenset({"tus"})
    url: str = "/files/"
    database: str | None = None  # of the app; None: it has none, or the extension's own SQLite file
    s3: bool = False  # whether uploads are stored there


@dataclass(frozen=True)
class Ours(Kind):
    """This project's app."""

    protocols: frozenset[str] = frozenset({"tus", "form", "octet"})
    worker: str = field(kw_only=True)
    workers: int = 1
    threads: int | None = None
    durability: str = "data"
    folder: bool = False  # whether flow.js chunks are kept in one
    rows: bool = False  # whether the app writes one to its database for each upload


@dataclass(frozen=True)
class Telling(Kind):
    """A server of its own, and an app that it tells of each finished upload, which writes a row."""

    server: str = field(kw_only=True)
    workers: int = 1  # of the app


LIMIT = "c-splice"
LIMITS = (LIMIT, "py-splice")
_OTHERS = {
    LIMIT: Kind("limit: C loop, splice", frozenset({"tus", "octet"})),
    "py-splice": Kind("limit: Python loop, splice"),
    "node": Kind("@tus/server + file-store", url="/files"),
    "tuspyserver": Kind("tuspyserver on uvicorn", url="/files"),
    "tusd": Kind("tusd"),
    "rustus": Kind("rustus"),
    "flowjs": Kind("flowjs on Tornado", frozenset({"form"})),
    "tusd-s3": Kind("tusd, S3 store", s3=True),
    "boto3": Kind("boto3, `upload_fileobj` from the disk", frozenset(), s3=True),
}


def kind(name: str) -> Kind:
    """What the name of a server says.

    :raises KeyError: There is no such server.
    """
    if match := _OURS.fullmatch(name):
        return _ours(match)
    if match := _TELLING.fullmatch(name):
        server, workers = _OTHERS[match["server"]], int(match["workers"] or 1)
        title = f"{server.title}, telling a Flask app on gunicorn gevent{_processes(workers, beside=1)}"
        return Telling(title, url=server.url, database=match["database"], server=match["server"], workers=workers)
    return _OTHERS[name]


def _ours(match: re.Match[str]) -> Ours:
    worker, workers, durability = match["worker"], int(match["workers"] or 1), match["durability"] or "data"
    threads = int(match["threads"]) if match["threads"] else _THREADS.get(worker)
    words = {"pinned": "gunicorn gthread, one core", "granian": "granian"}.get(worker, f"gunicorn {worker}")
    title = f"ours: {words}" + (f", {threads} threads" if threads else "")
    title += f', durability "{durability}"' if durability != "data" else ""
    title += ", chunks in a folder" if match["folder"] else ""
    title += f", {TITLES[match['database']]}" if match["database"] else ""
    title += ", S3" if match["s3"] else ""
    title += _processes(workers) if workers > 1 or match["rows"] else ""
    return Ours(
        title,
        database=match["database"],
        s3=bool(match["s3"]),
        worker=worker,
        workers=workers,
        threads=threads,
        durability=durability,
        folder=bool(match["folder"]),
        rows=bool(match["rows"]),
    )


def _processes(workers: int, *, beside: int = 0) -> str:
    """How many processes do the work. gunicorn's first one does not: it only watches its workers."""
    total = workers + beside
    named = f", {workers} workers" if workers > 1 else ""
    return f"{named} ({total} {'process' if total == 1 else 'processes'})"


def is_ours(name: str) -> bool:
    """Whether it is this project's app."""
    return _OURS.fullmatch(name) is not None
