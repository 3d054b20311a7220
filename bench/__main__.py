"""``python -m bench``: measure, show, and write the tables and the picture of docs/performance.md."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import content
from bench import databases
from bench import growth
from bench import upkeep
from bench.kinds import is_ours
from bench.kinds import kind
from bench.measure import free_memory
from bench.measure import MEMORY
from bench.programs import ROOT
from bench.report import Results
from bench.report import write
from bench.runs import measuring
from bench.runs import QUICK
from bench.runs import Sizes
from bench.runs import TINY
from bench.scenarios import SCENARIOS
from bench.tables import Table

# What measures only this project, once for each of some servers.
ALONE: dict[str, tuple[Callable[[str, Path, Path, Sizes], Iterator[Table]], tuple[str, ...]]] = {
    "sizes": (growth.sizes, ("gthread",)),
    "chunks": (growth.chunks, ("gthread", "gevent-postgresql", "gevent-mariadb")),
    "records": (growth.records, ("gthread", "gevent-postgresql", "gevent-mariadb")),
    "clean": (upkeep.clean, ("gthread", "gevent-postgresql")),
    "concat": (upkeep.concat, ("gthread",)),
}


def main() -> int:
    """Measure and report."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # and end the servers, too
    if options.data:
        options.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.data) as folder:
        try:
            results = _measure(options, Path(folder))
        except KeyboardInterrupt:
            sys.exit("Stopped.")
        finally:
            databases.end_servers()
    print(results.markdown())
    if options.write:
        write(results, options.write)
        print(f"Written to {options.write}.", file=sys.stderr)
    return 1 if results.wrong else 0


def _measure(options: argparse.Namespace, folder: Path) -> Results:
    results = Results(_place(folder), options.size)
    source = folder / "content"
    content.make(source)
    sizes = {"quick": QUICK, "tiny": TINY}.get(options.size, Sizes())
    deadline = time.monotonic() + options.minutes * 60
    for name, (measure, servers) in ALONE.items():
        if options.only and name not in options.only:
            continue
        for server in [name for name in options.server or servers if is_ours(name)]:
            if time.monotonic() > deadline:
                results.wrong.append(f"{name}, {server}: out of time")
                continue
            _log(f"{name}: {server} ...")
            room = MEMORY / folder.name if name == "sizes" and _has_memory(sizes.growth[-1]) else folder / "home"
            with _fresh(room) as home, results.noting(name, server):
                for table in measure(server, home, source, sizes):
                    results.others.append(table)
                    _log(str(table))
    _race(options, results, folder / "home", source, sizes, deadline)
    return results


def _has_memory(size: int) -> bool:
    """Whether one and a half times this much fits into memory."""
    return os.access(MEMORY, os.W_OK) and min(free_memory(), shutil.disk_usage(MEMORY).free) > size * 1.5


def _place(folder: Path) -> str:
    """Which file systems uploads are stored on, in words."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    over = [(point, sort) for point, sort in mounts if folder.resolve().is_relative_to(point)]
    disk = max(over, key=lambda mount: len(mount[0]))[1]
    return f"uploads stored on a tmpfs, and on {disk} where it says so" if os.access(MEMORY, os.W_OK) else f"on {disk}"


def _race(
    options: argparse.Namespace, results: Results, home: Path, source: Path, sizes: Sizes, deadline: float
) -> None:
    """Run all scenarios in each round, with the servers in a new order."""
    names = [name for name in SCENARIOS if not options.only or name in options.only]
    for number in range(1, options.rounds + 1):
        for name in names:
            scenario = SCENARIOS[name]
            servers = [server for server in options.server or scenario.servers if server not in results.missing]
            random.shuffle(servers)
            for server in servers:
                if time.monotonic() > deadline:
                    _log("Out of time: the rest of the rounds is left out.")
                    return
                room = MEMORY / home.parent.name if scenario.in_memory and os.access(MEMORY, os.W_OK) else home
                with _fresh(room), results.noting(name, server):
                    with measuring(server, room, source, sizes) as run:
                        figures = scenario.run(run)
                    if figures:
                        results.add(name, server, figures)
                        shown = "  ".join(
                            f"{figures[column]:,.4g} {column}" for column in scenario.columns if column in figures
                        )
                        _log(f"{number}/{options.rounds} {name:8} {server:14} {shown}")


@contextmanager
def _fresh(home: Path) -> Iterator[Path]:
    """A folder for the block to make, which is removed afterwards."""
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os.sync()  # or the next server would share the disk with the removal


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*SCENARIOS, *ALONE], help="a scenario; may be repeated")
    parser.add_argument("--server", action="append", type=_server, help="a server; may be repeated")
    parser.add_argument("--rounds", type=int, help="how often (default: 5, quick: 1)")
    parser.add_argument("--quick", dest="size", action="store_const", const="quick", help="less of everything")
    parser.add_argument("--tiny", dest="size", action="store_const", const="tiny", help="only whether it works")
    parser.add_argument("--data", type=Path, help="where uploads are stored (default: the folder for temporary files)")
    parser.add_argument("--minutes", type=float, default=120, help="no new run after that (default: 120)")
    parser.add_argument("--write", type=Path, help="folder for the page and the picture (a full run: docs)")
    options = parser.parse_args()
    if not (options.only or options.server or options.size or options.write):
        options.write = ROOT / "docs"
    options.rounds = options.rounds or (1 if options.size else 5)
    return options


def _server(name: str) -> str:
    try:
        kind(name)
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no server {name!r}") from None
    return name


if __name__ == "__main__":
    sys.exit(main())
