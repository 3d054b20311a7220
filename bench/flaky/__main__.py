"""``python -m bench.flaky``: break connections, show what was kept, and write the table of docs/flaky-links.md."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from bench import content
from bench.content import Content
from bench.content import phase_of
from bench.flaky import backends
from bench.flaky import cuts
from bench.flaky import link
from bench.flaky import polling
from bench.flaky import report
from bench.flaky.report import Outcome
from bench.flaky.servers import OURS
from bench.flaky.servers import PEERS
from bench.flaky.servers import Setting
from bench.flaky.servers import started
from bench.flaky.servers import TITLES
from bench.measure import NotAvailable
from bench.programs import ROOT
from bench.stores import Store
from bench.stores import store
from bench.units import MIB

PARTS = ("cuts", "link", "polled")
SETTINGS = ("disk-sqlite", "disk-postgresql", "s3-sqlite", "s3-postgresql")
_PEER_SETTING = SETTINGS[0]
_FULL = {"gthread-2": (SETTINGS[0], SETTINGS[3]), "gevent-2": (SETTINGS[0], SETTINGS[3]), "tls": SETTINGS[:1]}
_QUICK = {"gthread": SETTINGS, "nginx": (SETTINGS[0], SETTINGS[3])}  # others: on the disk, with SQLite


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    waits: Sequence[float] = (0, 0.1, 0.5, 0.9)
    rounds: int = 20
    link: int = 20 * MIB
    polled: int = 4_000_000


QUICK = Sizes(waits=(0, 0.1, 0.5), rounds=6, link=8 * MIB, polled=2_000_000)
TINY = Sizes(waits=(0,), rounds=2, link=MIB, polled=200_000)


@dataclass
class Run:
    """What is measured, where, and what came out of it so far."""

    options: argparse.Namespace
    home: Path
    source: Path
    sizes: Sizes
    stack: ExitStack
    outcomes: list[Outcome] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _store: Store | None = None
    _database: str | None = None

    def measure(self) -> None:
        """Server by server, each with every setting."""
        deadline = time.monotonic() + self.options.minutes * 60
        for server in self.options.servers:
            for name in self._settings(server):
                if time.monotonic() > deadline:
                    self.left_out.append(f"{TITLES[server]}, {name}: out of time")
                    continue
                try:
                    self._measure(server, name)
                except NotAvailable as error:
                    _statements(f"{server}, {name}: left out, {error}")
                    self.left_out.append(f"{TITLES[server]}, {name}: {error}")

    def _settings(self, server: str) -> Sequence[str]:
        if server in PEERS:
            return (_PEER_SETTING,)
        if self.options.settings:
            return list(self.options.settings)
        return _FULL.get(server, SETTINGS) if self.sizes != QUICK else _QUICK.get(server, SETTINGS[:1])

    def _measure(self, server: str, name: str) -> None:
        setting = self._setting(name)
        outcome = Outcome(server, "disk" if server in PEERS else setting.title)
        home = self.home / f"{server}-{name}"
        with started(server, setting, home) as site:
            if "cuts" in self.options.parts:
                outcome.cases = cuts.cut_all(site, self.source, self.sizes.waits, self.sizes.rounds)
            if "link" in self.options.parts:
                outcome.crossings = link.cross(site, self._file())
            if "polled" in self.options.parts:
                outcome.polled = polling.polled(site, self.source, self.sizes.polled)
        self.outcomes.append(outcome)
        _statements("\n".join(report.lines(outcome)))
        if self.options.logs:
            _statements(f"  log: {(home / 'log.txt').read_text(errors='replace')[-3000:]}")

    def _setting(self, name: str) -> Setting:
        """Start what it needs, once."""
        if name.startswith("s3-") and self._store is None:
            self._store = self.stack.enter_context(store(self.home / "store"))
            _statements(f"S3 is {self._store.title}.")
        if name.endswith("-postgresql") and self._database is None:
            self._database = self.stack.enter_context(backends.postgresql())
        return Setting(
            self._store if name.startswith("s3-") else None,
            self._database if name.endswith("-postgresql") else None,
        )

    def _file(self) -> Path:
        """What goes over the link."""
        link.need_client()
        file = self.home / "file"
        if not file.exists():
            with Content(self.source) as source:
                file.write_bytes(source.at(phase_of(2000), self.sizes.link))
        return file

    def how(self) -> str:
        """What was started beside the servers, in words."""
        store = f", S3 is {self._store.title}" if self._store else ""
        size = {QUICK: " (quick)", TINY: " (tiny)"}.get(self.sizes, "")
        return f"{self.sizes.rounds} cuts each{size}{store}"


def main() -> int:
    """Measure and report."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # and end the servers, too
    with tempfile.TemporaryDirectory(prefix="flaky-", dir=options.data) as folder, ExitStack() as stack:
        home = Path(folder)
        home.chmod(0o755)
        source = home / "content"
        content.make(source)
        run = Run(options, home, source, options.sizes, stack)
        reference = cuts.bare(run.sizes.waits, run.sizes.rounds) if "cuts" in options.parts else []
        try:
            run.measure()
        except KeyboardInterrupt:
            sys.exit("Stopped.")
        text = report.markdown(run.outcomes, reference, run.left_out, run.how())
    print(text)
    if options.output:
        report.write(options.output, text)
        _statements(f"Written to {options.output}.")
    return 1 if any(outcome.troubles() for outcome in run.outcomes if outcome.server in OURS) else 0


def _statements(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.flaky", description=__doc__)
    every = ",".join(TITLES)
    parser.add_argument("--servers", type=_words(TITLES), help=f"some of {every} (default: all; quick: not the peers)")
    parser.add_argument("--settings", type=_words(SETTINGS), help=f"some of {','.join(SETTINGS)}")
    parser.add_argument("--parts", type=_words(PARTS), default=[*PARTS], help=f"some of {','.join(PARTS)}")
    parser.add_argument("--quick", dest="sizes", action="store_const", const=QUICK, help="less of everything")
    parser.add_argument("--tiny", dest="sizes", action="store_const", const=TINY, help="only whether it works")
    parser.add_argument("--minutes", type=float, help="no new server after that (default: 27, quick: 4)")
    parser.add_argument("--data", type=Path, help="where uploads are stored (default: the folder for temporary files)")
    parser.add_argument("--logs", action="store_true", help="show what the servers printed")
    parser.add_argument("--output", type=Path, help="the page to write (a full run: docs/flaky-links.md)")
    options = parser.parse_args()
    is_full = not (options.sizes or options.settings or options.servers) and options.parts == [*PARTS]
    options.servers = options.servers or [*(OURS if options.sizes else TITLES)]
    options.minutes = options.minutes or (4 if options.sizes else 27)
    options.sizes = options.sizes or Sizes()
    if is_full and not options.output:
        options.output = ROOT / "docs" / "flaky-links.md"
    return options


def _words(known: Collection[str]) -> Callable[[str], list[str]]:
    """The type of an option: some of these, with commas in between."""

    def words(text: str) -> list[str]:
        found = text.split(",")
        if unknown := [word for word in found if word not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return found

    return words


if __name__ == "__main__":
    sys.exit(main())
