"""Our figures as multiples of the best other server's, for docs/performance.md and, in part, for the README."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from bench.floor import HEAD
from bench.floor import UPLOAD
from bench.goals import Middles
from bench.kinds import kind
from bench.requests import COLUMNS
from bench.tables import number
from bench.tables import Table
from bench.told import CPU
from bench.told import ONE
from bench.told import RATE

_NOTE = (
    "Each figure is a multiple of the one in the last column. For CPU, memory and time, below 1x is better. For speed, "
    "above 1x is better."
)
_WORKERS = {"gevent": "gevent", "gthread": "gthread"}
_PEERS = ("node", "tuspyserver", "tusd", "rustus")


@dataclass(frozen=True)
class Line:
    """One figure, of some of our servers and of those that they are compared with."""

    text: str
    scenario: str
    figure: str
    ours: Mapping[str, str]  # servers, by column
    others: Sequence[str] = ()  # none: the figure is a multiple already
    in_readme: bool = False
    beside: str = ""  # what they are compared with, if that is not the name of the best of the others

    def cells(self, found: Mapping[str, Mapping[str, float]]) -> list[str] | None:
        """The cells of the line, or nothing if a side was not measured."""
        ours = {column: found[name][self.figure] for column, name in self.ours.items() if name in found}
        others = {name: found[name][self.figure] for name in self.others if name in found}
        if not ours or (self.others and not others):
            return None
        last, base = self.beside, 1.0
        if others:
            best = (max if "/s" in self.figure else min)(others, key=lambda name: others[name])
            base = others[best] or 1.0
            last = f"{self.beside or kind(best).title}: {number(others[best])} {self.figure.removeprefix(ONE)}"
        return [*(f"{ours[column] / base:.2f}x" if column in ours else "-" for column in _TITLES), last]


def _told(database: str, title: str) -> Iterator[Line]:
    scenario = "told" if database == "sqlite" else f"told-{database}"
    ours = {"gevent": f"gevent-{database}-rows", "two": f"gevent-x2-{database}-rows"}
    others = [f"{server}-{database}-rows" for server in ("tusd", "node")]
    for request, text in (("", "POST + PATCH"), (ONE, "one request")):
        what = f"10 KiB uploads with a row each in {title}, {text}"
        yield Line(f"{what}: CPU", scenario, request + CPU, ours, others, in_readme=True)
        # The others take two processes.
        yield Line(f"{what}: speed", scenario, request + RATE, {"two": ours["two"]}, others)


def _s3() -> Iterator[Line]:
    ours = {"gevent": "gevent-s3", "gthread": "gthread-s3"}
    for scenario, what in (("s3", "64 MiB to S3"), ("s3-8", "Eight times 64 MiB to S3 at once")):
        for figure, word in (("cpu s/GiB", "CPU"), ("MiB/s", "speed"), ("peak MiB", "memory")):
            yield Line(
                f"{what}: {word}", scenario, figure, ours, ["tusd-s3"], in_readme=scenario == "s3" and word == "CPU"
            )


def _slow() -> Iterator[Line]:
    for scenario, clients in (("slow", "500"), ("slow-2000", "2,000")):
        for figure, word in (("cpu", "CPU"), ("KiB/client", "memory"), ("HEAD p99 ms", "time of a HEAD beside them")):
            brief = scenario == "slow" and word in ("CPU", "memory")
            yield Line(f"{clients} clients at 32 KiB/s: {word}", scenario, figure, _WORKERS, ["tusd"], in_readme=brief)


_TITLES = {"gevent": "gevent", "two": "gevent, 2 workers", "gthread": "gthread"}
_LINES = (
    *_told("sqlite", "SQLite"),
    *_told("postgresql", "PostgreSQL"),
    *(
        Line(
            f"{column[3:]} with the app's model in {title}: CPU",
            "own",
            column,
            {"gevent": f"gevent-{database}"},
            ["gevent"],
            beside="our embedded file",
        )
        for database, title in (("sqlite", "SQLite"), ("postgresql", "PostgreSQL"))
        for column in COLUMNS
    ),
    Line("HEAD: speed", "floor", HEAD, _WORKERS, beside="an empty Flask view on the same server"),
    Line("10 KiB uploads, POST + PATCH: speed", "floor", UPLOAD, _WORKERS, beside="two empty Flask views"),
    *_s3(),
    *_slow(),
    Line("One large PATCH: CPU", "big", "cpu s/GiB", _WORKERS, _PEERS, in_readme=True),
    Line("PATCHes of 4 MiB: CPU", "patches", "ms/req", _WORKERS, _PEERS),
    Line("32 uploads at once, PATCHes of 1 MiB: CPU", "many", "cpu s/GiB", _WORKERS, _PEERS),
    Line("10 KiB uploads, embedded file, POST + PATCH: speed", "small", "req/s", _WORKERS, _PEERS),
    Line("HEAD, embedded file: speed", "small", "HEAD/s", _WORKERS, _PEERS),
    Line("flow.js forms of 1 MiB: CPU", "flow", "cpu s/GiB", _WORKERS, ["flowjs"], in_readme=True),
    Line("10 KiB uploads, on the disk: speed", "small-disk", "req/s", _WORKERS, _PEERS),
)


def summary(middles: Middles, *, in_readme: bool = False, title: str = "") -> Table:
    """A line for each figure that was measured, or for the README's."""
    table = Table(title, ("", *_TITLES.values(), "compared with"), note=_NOTE)
    for line in _LINES:
        if (line.in_readme or not in_readme) and (cells := line.cells(middles.get(line.scenario, {}))):
            table.rows.append((line.text, *cells))
    return table
