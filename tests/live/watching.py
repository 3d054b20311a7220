"""What a running server asks of the kernel: strace beside it, which may also let single calls fail."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.prerequisites import require_strace

from .journal import PATIENCE
from .servers import Server

_LINE = re.compile(r"^(\d+) +(.*)$")
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)(.*)$")
UNFINISHED = " <unfinished ...>"


@dataclass(frozen=True)
class Call:
    """One system call that has returned; ``result`` is negative if it failed."""

    thread: int
    name: str
    arguments: str
    result: int
    remark: str  # the error, and whether strace has injected it

    @property
    def is_from_socket(self) -> bool:
        """Whether its first argument is a TCP connection."""
        return re.match(r"\d+<(TCP|socket:)", self.arguments) is not None

    @property
    def is_to_file(self) -> bool:
        """Whether an unfinished upload's file is among its arguments."""
        return ".part>" in self.arguments

    @property
    def is_injected(self) -> bool:
        """Whether it never reached the kernel."""
        return "INJECTED" in self.remark


class Watch:
    """Calls of one process; complete once the watching has ended."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def calls(self, *names: str) -> list[Call]:
        """All calls by these names, or simply all, in order."""
        return [call for call in self._calls() if not names or call.name in names]

    def _calls(self) -> Iterator[Call]:
        begun: dict[int, str] = {}
        for line in self.log.read_text().splitlines():
            found = _LINE.match(line)
            assert found is not None, line
            thread, text = int(found[1]), found[2]
            if text.endswith(UNFINISHED):
                begun[thread] = text.removesuffix(UNFINISHED)
                continue
            if resumed := _RESUMED.match(text):
                text = begun.pop(thread, "") + resumed[1]
            if call := _CALL.match(text):
                yield Call(thread, call[1], call[2], int(call[3]), call[4])


@contextmanager
def watching(server: Server, *faults: str, calls: str = "all", path: Path | None = None) -> Iterator[Watch]:
    """Watch the server's only worker for the length of the block.

    :param faults: What strace is to inject, such as ``splice:error=ENOSPC:when=2``; counted by thread.
    :param calls: Which system calls to note.
    :param path: Note, and tamper with, only calls on this file.
    """
    (worker,) = server.workers()
    log = server.home / f"watch{len([*server.home.glob('watch*')])}"
    command = [require_strace(), "-f", "-yy", "-qq", "-s", "0", "-o", str(log)]
    command += ["-e", f"trace={calls}", *_options("-e", [f"inject={fault}" for fault in faults])]
    command += _options("-P", [] if path is None else [str(path)])
    with subprocess.Popen([*command, "-p", str(worker)], stderr=subprocess.PIPE, text=True) as tracer:
        try:
            _wait_until_traced(worker, tracer)
            yield Watch(log)
        finally:
            tracer.send_signal(signal.SIGINT)  # it lets go of the worker, and ends
            tracer.communicate(timeout=PATIENCE)


def _options(name: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (name, value)]


def _wait_until_traced(worker: int, tracer: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(
        "TracerPid:\t0\n" in (thread / "status").read_text() for thread in Path(f"/proc/{worker}/task").iterdir()
    ):
        assert tracer.poll() is None, tracer.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.05)  # attached, but not yet at every system call
