"""The results as Markdown: medians, ratios and goals; and where they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import UTC
from pathlib import Path
from statistics import median

from sqlalchemy.exc import SQLAlchemyError

from bench.client import Trouble
from bench.goals import held
from bench.kinds import is_ours
from bench.kinds import kind
from bench.kinds import LIMITS
from bench.measure import NotAvailable
from bench.picture import draw
from bench.picture import Panel
from bench.programs import ROOT
from bench.runs import Figures
from bench.runs import Wrong
from bench.scenarios import SCENARIOS
from bench.summary import summary
from bench.tables import Table
from bench.told import CPU
from bench.versions import versions

_PANELS = (
    ("told", CPU, "10 KiB uploads, a row each in SQLite"),
    ("told-postgresql", CPU, "10 KiB uploads, a row each in PostgreSQL"),
    ("big", "cpu s/GiB", "One large PATCH"),
    ("patches", "ms/req", "PATCHes of 4 MiB"),
    ("many", "cpu s/GiB", "32 uploads at once, PATCHes of 1 MiB"),
    ("small", "req/s", "Uploads of 10 KiB"),
    ("small", "HEAD/s", "HEAD"),
    ("s3-8", "cpu s/GiB", "Eight uploads of 64 MiB to S3 at once"),
    ("flow", "cpu s/GiB", "flow.js forms of 1 MiB"),
    ("octet", "cpu s/GiB", "flow.js octet chunks of 1 MiB"),
    ("small-disk", "req/s", "Uploads of 10 KiB, on the disk"),
)


@dataclass
class Results:
    """The figures of all runs."""

    place: str  # where uploads were stored
    size: str | None = None  # "quick" and the like
    load: float = field(default_factory=lambda: os.getloadavg()[0])  # of the machine, before the first run
    runs: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # servers that cannot be started, and why
    wrong: list[str] = field(default_factory=list)
    others: list[Table] = field(default_factory=list)  # of what measures only this project

    def add(self, scenario: str, server: str, figures: Figures) -> None:
        """Add the figures of one run."""
        self.runs.setdefault(scenario, {}).setdefault(server, []).append(figures)

    @contextmanager
    def noting(self, scenario: str, server: str) -> Iterator[None]:
        """Catch and note what goes wrong in a block."""
        try:
            yield
        except NotAvailable as error:
            print(f"{server} is left out: {error}", file=sys.stderr)
            self.missing[server] = str(error)
        except (Trouble, Wrong, OSError, subprocess.SubprocessError, SQLAlchemyError) as error:
            print(f"{scenario}, {server}: {error}", file=sys.stderr)
            self.wrong.append(f"{scenario}, {server}: {error}")

    def middles(self) -> Mapping[str, Mapping[str, Figures]]:
        """The median of each figure, by scenario and server. Servers are in the order of the scenario."""
        found = {}
        for scenario, runs in self.runs.items():
            order = sorted(runs, key=lambda server: _place(scenario, server))
            found[scenario] = {server: _middle(runs[server]) for server in order}
        return found

    def markdown(self) -> str:
        """All tables."""
        middles = self.middles()
        races = [_race(name, found, self.runs[name]) for name, found in middles.items()]
        overview = [table for table in (held(middles), summary(middles, title="Beside other servers")) if table.rows]
        tables = [*overview, *races, *self.others]
        lines = [self.about(), "", *map(str, tables)]
        lines += [f"Left out: {kind(server).title} (`{server}`): {why}." for server, why in self.missing.items()]
        lines += [f"Went wrong: {text.splitlines()[0]}" for text in self.wrong]
        return "\n".join(lines).rstrip() + "\n"

    def about(self) -> str:
        """When and where it was measured, and with which versions."""
        cores = len(os.sched_getaffinity(0))
        day = datetime.now(UTC).date().isoformat() + (f" ({self.size})" if self.size else "")
        machine = f"{cores} cores (load before {self.load:.1f}), Linux {os.uname().release}"
        return f"Measured {day} on {machine}, {self.place}: {versions()}."

    def picture(self) -> str:
        """The races as bars, as SVG."""
        panels = []
        for scenario, figure, title in _PANELS:
            found = self.middles().get(scenario, {})
            bars = [(_label(server), _colour(server), figures[figure]) for server, figures in found.items()]
            better = f"{figure}, {'more' if figure.endswith('/s') else 'less'} is better"
            if bars:
                panels.append(Panel(title, better, bars))
        return draw(panels, self.about().partition(": ")[0])


def _middle(runs: list[Figures]) -> Figures:
    return {name: median(figures[name] for figures in runs) for name in runs[0]}


def _place(scenario: str, server: str) -> tuple[int, str]:
    servers = SCENARIOS[scenario].servers
    return (servers.index(server) if server in servers else len(servers), server)


def _race(name: str, middles: Mapping[str, Figures], runs: Mapping[str, list[Figures]]) -> Table:
    """A row for each server: medians, some also as multiples of the first row's, and the best of the first figure."""
    scenario = SCENARIOS[name]
    first, ratios = scenario.columns[0], scenario.columns[:1] if scenario.ratios is None else scenario.ratios
    beside = [f"{column}, beside the first row" for column in ratios]
    table = Table(scenario.title, ("", *scenario.columns, *beside, f"best {first}", "runs"))
    base = next(iter(middles.values()))
    for server, middle in middles.items():
        values = [figures[first] for figures in runs[server]]
        best = max(values) if "/s" in first else min(values)
        cells = [f"{middle[column] / base[column]:.2f}x" if base[column] else "-" for column in ratios]
        title = f"{kind(server).title} (`{server}`)"
        shown = [middle.get(column, "-") for column in scenario.columns]
        table.rows.append((title, *shown, *cells, best, len(values)))
    return table


def _label(server: str) -> str:
    return f"{server}, ours" if is_ours(server) else server


def _colour(server: str) -> str:
    if is_ours(server):
        return "ours"
    return "limit" if server in LIMITS else "peer"


def write(results: Results, folder: Path) -> None:
    """Write ``performance.svg`` to a folder, and what was measured into its ``performance.md``, between markers.

    If the folder is ``docs``, the summary goes into the README, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "performance.svg").write_text(results.picture())
    page = folder / "performance.md"
    if not page.exists():
        page.write_text("# Performance\n\n<!-- bench -->\n<!-- /bench -->\n")
    _fill(page, results.markdown())
    if folder.resolve() == ROOT / "docs":
        _fill(ROOT / "README.md", f"{summary(results.middles(), in_readme=True)}\n{results.about()}")


def _fill(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page, if it has any."""
    pattern = re.compile(r"(?<=<!-- bench -->\n).*?(?=<!-- /bench -->)", re.DOTALL)
    page.write_text(pattern.sub(lambda _: f"\n{text.strip()}\n\n", page.read_text(), count=1))
