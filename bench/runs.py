"""One server that is measured: how much it is sent, what is counted, and whether it stored what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
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
    """A stored file is not what was sent."""


@dataclass(frozen=True)
class Sizes:
    """How much is sent. Bytes, or numbers of requests."""

    big: int = GIB
    patches: int = 64 * MIB
    small: int = 3000
    heads: int = 6000
    many: int = 16 * MIB  # for each of 32
    flow: int = 64  # chunks of 1 MiB
    growth: tuple[int, ...] = (MIB, 16 * MIB, 128 * MIB, GIB, 8 * GIB)
    chunks: tuple[int, ...] = (10, 100, 1000, 10_000)
    records: int = 1_000_000
    expired: int = 100_000
    part: int = 256 * MIB  # of 8


QUICK = Sizes(
    big=256 * MIB,
    patches=32 * MIB,
    small=400,
    heads=600,
    many=2 * MIB,
    flow=24,
    growth=(MIB, 16 * MIB, 256 * MIB),
    chunks=(10, 100, 1000),
    records=100_000,
    expired=2000,
    part=32 * MIB,
)
TINY = Sizes(
    big=2 * MIB,
    patches=8 * MIB,
    small=16,
    heads=16,
    many=MIB,
    flow=4,
    growth=(MIB, 2 * MIB),
    chunks=(5, 20),
    records=500,
    expired=20,
    part=MIB,
)

Figures = dict[str, float]


class Run:
    """One server that is being measured."""

    def __init__(self, name: str, server: Server, jobs: Jobs, content: Content, sizes: Sizes) -> None:
        self.name, self.server, self.sizes = name, server, sizes
        self._jobs, self._content = jobs, content

    def measure(self, script: str, *, volume: int = 0, **options: Any) -> tuple[Figures, dict[str, Any]]:
        """Do it, count what the server used, and compare what it stored.

        :param volume: How many bytes will be stored, if that is a lot.
        :raises Wrong: A stored file is not what was sent.
        """
        tree = self.server.tree
        if volume >= 16 * MIB:
            warm_memory(self.server.uploads, volume + volume // 4)
        tree.forget_peak()
        before, cpu = tree.memory("VmRSS"), tree.cpu()
        report = self._jobs.do(script, **options)
        used = tree.cpu() - cpu
        peak = tree.memory("VmHWM")
        size = sum(entry[2] for entry in report["stored"])
        figures = {
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
        return figures, report

    def tus(self, *, uploads: int, size: int, **options: Any) -> tuple[Figures, dict[str, Any]]:
        """Uploads by tus; see ``scripts.tus``."""
        options |= {"url": self.server.url, "uploads": uploads, "size": size}
        return self.measure("tus", volume=uploads * size, **options)

    def flow(self, *, files: int, count: int, chunk: int, **options: Any) -> tuple[Figures, dict[str, Any]]:
        """Uploads by flow.js; see ``scripts.flow``."""
        options |= {"url": "/flow/", "files": files, "count": count, "chunk": chunk}
        return self.measure("flow", volume=files * count * chunk, **options)

    def remove(self, report: Mapping[str, Any]) -> None:
        """Make room on the disk: what was compared is not needed any more."""
        for name, _, _ in report["stored"]:
            self.server.stored(name).unlink()


@contextmanager
def measuring(name: str, home: Path, content: Path, sizes: Sizes) -> Iterator[Run]:
    """A server started afresh, with a client, until the end of the block.

    :raises NotAvailable: The server cannot be had here.
    :raises Trouble: It answered what it should not.
    """
    with started(name, home) as server, client(content, server.port) as jobs, Content(content) as sent:
        try:
            yield Run(name, server, jobs, sent, sizes)
        except Trouble as error:
            raise Trouble(f"{error}\n{server.log_tail()}".rstrip()) from error
