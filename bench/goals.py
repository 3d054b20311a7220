"""The goals, and which of them are met."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from bench.floor import HEAD
from bench.floor import UPLOAD
from bench.kinds import is_ours
from bench.requests import COLUMNS
from bench.tables import Table
from bench.told import CPU
from bench.told import ONE
from bench.told import RATE

Middles = Mapping[str, Mapping[str, Mapping[str, float]]]  # medians, by scenario, server and figure

_WORKERS = ("gthread", "gevent")
_THREADS = ("gthread", "pinned")
_SLOW = ("gevent",)
_OTHERS = ("gevent", "granian", "granian-1")
_OWN = ("gevent-sqlite", "gevent-postgresql")
_S3 = ("gevent-s3", "gthread-s3")
_NONE = ("gthread", "gthread-none", "gevent", "gevent-none")
_DISK = ("gevent", "gevent-none", "granian-1", "granian-1-none")


@dataclass(frozen=True)
class Goal:
    """A figure of our servers, compared with the best of some others."""

    text: str
    scenario: str
    figure: str
    others: Sequence[str]
    limit: float  # the most (for rates: the least) that ours may be, as a multiple of the others' figure
    ours: Sequence[str] = _WORKERS

    @property
    def is_rate(self) -> bool:
        """Whether more is better than less."""
        return self.figure.endswith("/s")


_PEERS = ("node", "tuspyserver")


def _told(database: str, title: str) -> Iterator[Goal]:
    """Uploads with a row for each: CPU, and speed with the same number of processes."""
    scenario = "told" if database == "sqlite" else f"told-{database}"
    others = [f"{peer}{workers}-{database}-rows" for peer in ("tusd", "node") for workers in ("", "-x2")]
    one, two = f"gevent-{database}-rows", f"gevent-x2-{database}-rows"
    for request, text in (("", "POST + PATCH"), (ONE, "one request")):
        what = f"10 KiB uploads with a row in {title}, {text}"
        beside = "beside the best of tusd and @tus/server"
        yield Goal(f"{what}, CPU, {beside}", scenario, f"{request}{CPU}", others, 1.0, [one, two])
        speed = f"{what}, speed with 2 processes, {beside}"
        yield Goal(speed, scenario, f"{request}{RATE}", [other for other in others if "-x2" not in other], 1.0, [two])


def _s3() -> Iterator[Goal]:
    for scenario, what in (("s3", "S3, one upload at a time"), ("s3-8", "S3, eight at once")):
        for figure, word in (("cpu s/GiB", "CPU per byte"), ("peak MiB", "peak memory"), ("MiB/s", "speed")):
            for other, title in (("tusd-s3", "tusd"), ("boto3", "upload_fileobj")):
                yield Goal(f"{what}: {word}, beside {title}", scenario, figure, [other], 1.0, _S3)


GOALS = (
    *_told("sqlite", "SQLite"),
    *_told("postgresql", "PostgreSQL"),
    *(
        Goal(
            f"{column[3:]} with the app's own model, CPU, beside the embedded file",
            "own",
            column,
            ["gevent"],
            1.3,
            _OWN,
        )
        for column in COLUMNS
    ),
    Goal("One large PATCH, CPU per byte, beside the C loop", "big", "cpu s/GiB", ["c-splice"], 1.5),
    Goal("One large PATCH, speed, beside the C loop", "big", "MiB/s", ["c-splice"], 0.8),
    Goal("4 MiB PATCHes, CPU a request, beside @tus/server", "patches", "ms/req", ["node"], 0.5),
    Goal("4 MiB PATCHes, CPU a request, beside tuspyserver", "patches", "ms/req", ["tuspyserver"], 1.0),
    Goal("10 KiB uploads, speed, beside @tus/server", "small", "req/s", ["node"], 1.0, _OTHERS),
    Goal("10 KiB uploads, speed, beside tuspyserver", "small", "req/s", ["tuspyserver"], 1.0, _OTHERS),
    Goal("10 KiB uploads, speed on gthread, beside the better of both", "small", "req/s", _PEERS, 0.9, _THREADS),
    Goal("HEADs, speed, beside the better of both", "small", "HEAD/s", _PEERS, 1.0, _OTHERS),
    Goal("HEADs, speed on gthread, beside the better of both", "small", "HEAD/s", _PEERS, 0.9, _THREADS),
    Goal("32 at once, CPU per byte, beside the better of both", "many", "cpu s/GiB", _PEERS, 1.0),
    Goal("32 at once, speed, beside the better of both", "many", "MiB/s", _PEERS, 1.0),
    *(
        goal
        for name, clients in (("slow", "500"), ("slow-2000", "2,000"))
        for goal in (
            Goal(f"{clients} slow clients, CPU, beside tuspyserver", name, "cpu", ["tuspyserver"], 1.0, _SLOW),
            Goal(f"{clients} slow clients, CPU, beside tusd", name, "cpu", ["tusd"], 1.5, _SLOW),
            Goal(f"HEAD beside {clients} slow clients, beside tusd", name, "HEAD p99 ms", ["tusd"], 2.0, _SLOW),
            Goal(f"Creation beside {clients} slow clients, beside tusd", name, "POST p99 ms", ["tusd"], 2.0, _SLOW),
        )
    ),
    Goal("flow.js forms, CPU per byte, beside the older server", "flow", "cpu s/GiB", ["flowjs"], 1 / 3),
    Goal("flow.js forms, speed, beside the older server", "flow", "MiB/s", ["flowjs"], 3.0),
    Goal("On the disk: large PATCH, CPU, beside the C loop", "big-disk", "cpu s/GiB", ["c-splice"], 1.5, _NONE),
    Goal("On the disk: large PATCH, speed, beside the C loop", "big-disk", "MiB/s", ["c-splice"], 0.8, _NONE),
    Goal("On the disk: 10 KiB uploads, speed, beside @tus/server", "small-disk", "req/s", ["node"], 1.0, _DISK),
    Goal("On the disk: 10 KiB uploads, speed, beside tuspyserver", "small-disk", "req/s", ["tuspyserver"], 1.0, _DISK),
    Goal("On the disk: 32 at once, speed, beside the better of both", "many-disk", "MiB/s", _PEERS, 1.0, _NONE),
    Goal("On the disk: flow.js forms, speed, beside the older server", "flow-disk", "MiB/s", ["flowjs"], 3.0, _NONE),
)


def held(middles: Middles) -> Table:
    """A row for each goal, with the figures of our servers. Those that miss the goal are bold."""
    table = Table("Goals", ("", "goal", "reached (bold: not)"))
    for goal in GOALS:
        found = middles.get(goal.scenario, {})
        others = [found[name][goal.figure] for name in goal.others if name in found]
        ours = {name: found[name][goal.figure] for name in goal.ours if name in found}
        if not others or not ours:
            continue
        best = max(others) if goal.is_rate else min(others)
        cells = []
        for name, value in ours.items():
            ratio = value / best if best else 0.0
            is_met = ratio >= goal.limit if goal.is_rate else ratio <= goal.limit
            cells.append(f"`{name}` " + (f"{ratio:.2f}x" if is_met else f"**{ratio:.2f}x**"))
        wanted = f"{'at least' if goal.is_rate else 'at most'} {goal.limit:.2g}x"
        table.rows.append((goal.text, wanted, ", ".join(cells)))
    _add_own(table, middles)
    return table


def _add_own(table: Table, middles: Middles) -> None:
    """Goals that are not about other servers."""
    for figure, least in ((HEAD, 0.85), (UPLOAD, 0.5)):
        if found := {name: figures[figure] for name, figures in middles.get("floor", {}).items()}:
            cells = [f"`{name}` " + (f"{it:.2f}x" if it >= least else f"**{it:.2f}x**") for name, it in found.items()]
            table.rows.append((figure, f"at least {least}x", ", ".join(cells)))
    big = {name: found["grown MiB"] for name, found in middles.get("big", {}).items() if is_ours(name)}
    if big:
        cells = [f"`{name}` {value:.2f}" if value < 2 else f"`{name}` **{value:.2f}**" for name, value in big.items()]
        table.rows.append(("One large PATCH, growth of memory, MiB", "below 2", ", ".join(cells)))
    slow = {name: figures["KiB/client"] for name, figures in middles.get("slow", {}).items() if name in _SLOW}
    if slow:
        cells = [
            f"`{name}` {value:.1f}" if value <= 60 else f"`{name}` **{value:.1f}**" for name, value in slow.items()
        ]
        table.rows.append(("500 slow clients, growth of memory for each, KiB", "at most 60", ", ".join(cells)))
    octet, tus = middles.get("octet", {}), middles.get("many", {})
    cells = []
    for name in (name for name in _WORKERS if name in octet and name in tus):
        ratio = octet[name]["cpu s/GiB"] / (tus[name]["cpu s/GiB"] or 1)
        cells.append(f"`{name}` {ratio:.2f}x" if ratio <= 1.5 else f"`{name}` **{ratio:.2f}x**")
    if cells:
        text = "flow.js octet, CPU per byte, beside tus in PATCHes of 1 MiB"
        table.rows.append((text, "at most 1.5x", ", ".join(cells)))
