"""Measuring one server: how much is sent, what is counted, and whether what it stored is right."""

from __future__ import annotations

import time
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.client import Trouble
from bench.content import Content
from bench.jobs import client
from bench.jobs import Jobs
from bench.measure import warm_memory
from bench.servers import Server
from bench.servers import started
from bench.units import GIB
from bench.units import MIB


class Wrong(Exception):
    """What is stored is not what was sent."""


@dataclass(frozen=True)
class Sizes:
    """How much is sent, in bytes or as a number of requests."""

    big: int = GIB
    patches: int = 64 * MIB
    small: int = 3000
    told: int = 300
    requests: int = 400  # of each kind
    floor: int = 1500  # uploads; twice as many HEADs
    s3: int = 64 * MIB
    s3_uploads: int = 4  # one after the other
    heads: int = 6000
    many: int = 16 * MIB  # for each of 32
    flow: int = 64  # chunks of 1 MiB
    growth: tuple[int, ...] = (MIB, 16 * MIB, 128 * MIB, GIB, 8 * GIB)
    chunks: tuple[int, ...] = (10, 100, 1000, 10_000)
    records: int = 1_000_000
    expired: int = 100_000
    part: int = 256 * MIB  # of 8
    slow: int = 16  # seconds


QUICK = Sizes(
    big=256 * MIB,
    patches=32 * MIB,
    small=400,
    told=100,
    requests=150,
    floor=300,
    s3_uploads=2,
    heads=600,
    many=2 * MIB,
    flow=24,
    growth=(MIB, 16 * MIB, 256 * MIB),
    chunks=(10, 100, 1000),
    records=100_000,
    expired=2000,
    part=32 * MIB,
    slow=6,
)
TINY = Sizes(
    big=2 * MIB,
    patches=8 * MIB,
    small=16,
    told=16,
    requests=16,
    floor=16,
    s3=9 * MIB,
    s3_uploads=1,
    heads=16,
    many=MIB,
    flow=4,
    growth=(MIB, 2 * MIB),
    chunks=(5, 20),
    records=500,
    expired=20,
    part=MIB,
    slow=2,
)

Figures = dict[str, float]


class Run:
    """One server that is being measured."""

    def __init__(self, name: str, server: Server, jobs: Jobs, content: Content, sizes: Sizes) -> None:
        self.name, self.server, self.sizes = name, server, sizes
        self._jobs, self._content = jobs, content
        self._rows: list[str] = []  # the uploads that must have one

    def measure(
        self, script: str, *, volume: int = 0, rows: bool = False, **options: Any
    ) -> tuple[Figures, dict[str, Any]]:
        """Run a script, count what the server used, and compare what it stored.

        :param volume: How many bytes will be stored, if that is a lot.
        :param rows: Whether the app writes a row for each upload. The run ends with the last row.
        :raises Wrong: A stored file is not what was sent, or an upload has no row or more than one.
        """
        tree, database = self.server.tree, self.server.database
        if volume >= 16 * MIB:
            warm_memory(self.server.uploads, volume + volume // 4)
        tree.forget_peak()
        before, cpu = tree.memory("VmRSS"), tree.cpu()
        cpu_of_backend = self._cpu_of_backend()
        report = self._jobs.do(script, **options)
        if rows:
            begun = time.perf_counter()
            self._rows += [name for name, _, _ in report["stored"]]
            database.wait_for_rows(len(self._rows))
            report["seconds"] += time.perf_counter() - begun
        used = tree.cpu() - cpu
        peak = tree.memory("VmHWM")
        size = sum(entry[2] for entry in report["stored"])
        figures = {
            "backend cpu": self._cpu_of_backend() - cpu_of_backend,
            "seconds": report["seconds"],
            "cpu": used,
            "cpu s/GiB": used / size * GIB if size else 0.0,
            "MiB/s": size / MIB / report["seconds"],
            "req/s": report["requests"] / report["seconds"],
            "us/req": used / report["requests"] * 1e6,
            "ms/req": used / report["requests"] * 1e3,
            "peak MiB": peak / MIB,
            "grown MiB": max(0, peak - before) / MIB,
            "client cpu": report["cpu"] / report["seconds"],
        }
        for name, phase, length in report["stored"]:
            path = self.server.stored(name)
            wrong = self._content.differs(path, phase, length)
            if wrong:
                raise Wrong(f"{self.name}: {wrong}")
        if rows and (wrong := wrong_rows(self._rows, database.rows())):
            raise Wrong(f"{self.name}: {wrong}")
        return figures, report

    def _cpu_of_backend(self) -> float:
        return self.server.backend.cpu() if self.server.backend else 0.0

    @contextmanager
    def probing(self, script: str, **options: Any) -> Iterator[dict[str, Any]]:
        """Run a script in a second client until the end of the block. Afterwards, the dict has its report."""
        stop, report = self.server.log.with_name("stop"), dict[str, Any]()
        with client(Path(self._content.file.name), self.server.port) as jobs:
            jobs.begin(script, until=str(stop), **options)
            try:
                yield report
            finally:
                stop.touch()
            report |= jobs.result()
        stop.unlink()

    def tus(self, *, uploads: int, size: int, **options: Any) -> tuple[Figures, dict[str, Any]]:
        """Uploads by tus; see ``scripts.tus``."""
        options |= {"url": self.server.url, "uploads": uploads, "size": size}
        return self.measure("tus", volume=uploads * size, **options)

    def flow(self, *, files: int, count: int, chunk: int, **options: Any) -> tuple[Figures, dict[str, Any]]:
        """Uploads by flow.js; see ``scripts.flow``."""
        options |= {"url": "/flow/", "files": files, "count": count, "chunk": chunk}
        return self.measure("flow", volume=files * count * chunk, **options)

    def remove(self, report: Mapping[str, Any]) -> None:
        """Remove stored files, to free the disk."""
        for name, _, _ in report["stored"]:
            self.server.stored(name).unlink()


def wrong_rows(uploads: Sequence[str], rows: Sequence[str]) -> str | None:
    """What is wrong if not every upload has exactly one row, or ``None``."""
    if sorted(uploads) == sorted(rows):
        return None
    missing, unknown = set(uploads) - set(rows), set(rows) - set(uploads)
    doubled = len(rows) - len(set(rows))
    return f"{len(missing)} uploads have no row, {doubled} rows are doubled, {len(unknown)} are about no upload"


@contextmanager
def measuring(name: str, home: Path, content: Path, sizes: Sizes) -> Iterator[Run]:
    """Start a server and a client for it, until the end of the block.

    :raises NotAvailable: The server cannot be started here.
    :raises Trouble: Its response is not what it should be.
    """
    with started(name, home) as server, client(content, server.port) as jobs, Content(content) as sent:
        try:
            yield Run(name, server, jobs, sent, sizes)
        except Trouble as error:
            raise Trouble(f"{error}\n{server.log_tail()}".rstrip()) from error
