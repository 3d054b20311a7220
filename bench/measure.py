"""Start processes, measure them through ``/proc``, and end them whatever happens."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.units import GIB
from bench.units import KIB
from bench.units import MIB

MEMORY = Path("/dev/shm")  # a tmpfs on every Linux
_TICK = os.sysconf("SC_CLK_TCK")
_PARENT, _SESSION, _CPU = 1, 3, slice(11, 15)  # in what _stat() returns
_WARM = 2 * GIB  # more would have to be written to the disk
_PORTS = range(8_000, 10_000)  # below those that the kernel gives to outgoing connections
_given: deque[int] = deque(maxlen=100)  # ports whose servers may not listen yet
_START = 30.0  # seconds to answer after being started
_IDLE = 0.3  # seconds without a tick: idle


class NotAvailable(Exception):
    """A server cannot be started on this machine; the message says why."""


@dataclass(frozen=True)
class Tree:
    """Some processes that lead sessions of their own, with all their descendants."""

    leaders: tuple[int, ...]

    def __add__(self, other: Tree) -> Tree:
        """The processes of both."""
        return Tree(self.leaders + other.leaders)

    def pids(self) -> list[int]:
        """The ids of all running processes, the leaders first."""
        stats = {}
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                stats[int(path.name)] = _stat(int(path.name))
        found = set(self.leaders) & set(stats)
        # PostgreSQL's processes have sessions of their own, and what a server leaves behind has another parent.
        while more := {
            pid
            for pid, stat in stats.items()
            if pid not in found and (stat[_PARENT] in found or stat[_SESSION] in self.leaders)
        }:
            found |= more
        return sorted(found, key=lambda pid: (pid not in self.leaders, pid))

    def cpu(self) -> float:
        """Seconds of CPU time used so far, user and system, including children that have ended."""
        ticks = 0
        for pid in self.pids():
            with suppress(OSError):
                ticks += sum(_stat(pid)[_CPU])
        return ticks / _TICK

    def memory(self, field: str) -> int:
        """Bytes of memory of all processes together: ``VmRSS`` is the memory now, ``VmHWM`` the peak so far."""
        total = 0
        for pid in self.pids():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += sum(int(line.split()[1]) * KIB for line in lines if line.startswith(f"{field}:"))
        return total

    def forget_peak(self) -> None:
        """Reset ``VmHWM`` to the memory in use now."""
        for pid in self.pids():
            with suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def wait_until_idle(self) -> None:
        """Wait until the processes use no CPU: then every worker has loaded its app."""
        deadline, used = time.monotonic() + _START, -1.0
        while time.monotonic() < deadline and used != (now := self.cpu()):
            used = now
            time.sleep(_IDLE)

    def end(self) -> None:
        """Kill all processes."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _stat(pid: int) -> list[int]:
    """The fields of ``/proc/PID/stat`` from the third on, see proc(5). That one is a letter, and 0 here."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *(int(field) for field in fields[1:15])]


@contextmanager
def running(
    command: Sequence[str], port: int, *, env: Mapping[str, str], log: Path, cores: set[int] | None = None
) -> Iterator[Tree]:
    """Start a server, wait until it accepts connections, and kill it at the end of the block.

    :param log: Where what it prints goes.
    :param cores: The processor's cores that it may use; default: all.
    :raises NotAvailable: It did not start.
    """
    allowed = os.sched_getaffinity(0)
    with log.open("wb") as output:
        if cores:
            os.sched_setaffinity(0, cores)  # children inherit it
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise NotAvailable(str(error)) from error
        finally:
            os.sched_setaffinity(0, allowed)
    tree = Tree((process.pid,))
    try:
        _wait(process, port, log)
        yield tree
    finally:
        tree.end()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
            said = [line for line in lines if "Error" in line] or lines
            raise NotAvailable(f"it ended at once: {said[-1][:200]}")
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.02)
    raise NotAvailable(f"it did not answer within {_START:.0f} s")


def warm_memory(folder: Path, size: int) -> None:
    """Write a file and remove it, so that the kernel has this much memory at hand.

    A virtual machine may have returned free memory to its host. The first write to such a page costs several times as
    much as copying does, and would be counted as the cost of whichever server happens to come across it.
    """
    path, block = folder / "warm", bytes(MIB)
    on_tmpfs = MEMORY.is_dir() and folder.stat().st_dev == MEMORY.stat().st_dev
    with path.open("wb", buffering=0) as file:
        for _ in range(min(size, free_memory() // 2 if on_tmpfs else _WARM) // MIB):
            file.write(block)
    path.unlink()


def free_memory() -> int:
    """Bytes of memory that nothing uses."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def available_memory() -> int:
    """Bytes of memory that can be used without swapping, as caches make room."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith("MemAvailable:"))


def free_port() -> int:
    """A port that nothing listens on, and that was not returned before.

    :raises NotAvailable: There is none.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        if port in _given:
            continue
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            _given.append(port)
            return port
    raise NotAvailable("no port is free")
