"""Jobs in forks of this process, a few at a time, each of which is ended if it hangs."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

Say = Callable[[str], None]
SHORTEST, LONGEST = 60.0, 300.0  # seconds between two words of a fork that waits; other work may keep it from running
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Job:
    """What a fork does."""

    run: Callable[[Say], None] | None  # what it is about to do, it says; None: nothing, and the outcome is known
    patience: float  # seconds of the processor between two words
    told: dict[str, Any] = field(default_factory=dict)
    note: Callable[[dict[str, Any]], None] = lambda outcome: None


@dataclass
class _Child:
    job: Job
    process: int
    pipe: int
    home: Path
    said: str = ""
    used: float = 0.0  # seconds of the processor, when it said so
    heard: float = field(default_factory=time.monotonic)
    began: float = field(default_factory=time.monotonic)

    def hear(self, words: str) -> None:
        """Note what the fork is about to do."""
        self.said = words.splitlines()[-1]
        self.heard = time.monotonic()
        self.used = self.processor()

    def processor(self) -> float:
        """How many seconds of the processor it has used."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def hangs(self, slowness: float) -> bool:
        """Whether it computes for too long, or does nothing for too long."""
        silent = time.monotonic() - self.heard
        if silent > min(max(self.job.patience * slowness, SHORTEST), LONGEST):
            return True
        return silent > self.job.patience and self.processor() - self.used > self.job.patience


def in_forks(jobs: Iterator[Job], processes: int, home: Path) -> Iterator[dict[str, Any]]:
    """Run jobs, each in a fork of this process, and yield what has become of each."""
    children: dict[int, _Child] = {}
    number, is_over, slowness = 0, False, 4.0
    try:
        while children or not is_over:
            while not is_over and len(children) < processes:
                job = next(jobs, None)
                if job is None:
                    is_over = True
                elif job.run is None:
                    yield job.told
                else:
                    number += 1
                    child = _forked(job, home / str(number))
                    children[child.pipe] = child
            ready, _, _ = select.select([*children], [], [], 0.5) if children else ([], [], [])
            for pipe in ready:
                words = os.read(pipe, 65536)
                if words:
                    children[pipe].hear(words.decode())
                    continue
                child = children.pop(pipe)
                lasted = time.monotonic() - child.began
                slowness = max(1.0, 0.9 * slowness + 0.1 * min(lasted / max(child.processor(), 0.1), 30))
                yield _ended(child)
            for child in [*children.values()]:
                if child.hangs(slowness):
                    yield _ended(children.pop(child.pipe), is_late=True)
    finally:
        for child in children.values():
            _ended(child, is_late=True)


def _forked(job: Job, home: Path) -> _Child:
    home.mkdir()
    reading, writing = os.pipe()
    sys.stdout.flush()
    process = os.fork()
    if process:
        os.close(writing)
        return _Child(job, process, reading, home)
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        tempfile.tempdir = os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"] = str(home)
        assert job.run is not None
        job.run(lambda word: _say(writing, word))
    except BaseException as error:
        _say(writing, repr(error).replace("\n", " "))
        os._exit(2)
    os._exit(0)


def _say(pipe: int, word: str) -> None:
    os.write(pipe, word.encode("utf-8", "backslashreplace") + b"\n")


def _ended(child: _Child, *, is_late: bool = False) -> dict[str, Any]:
    """Remove what is left of a fork, and say how it has ended."""
    if is_late:
        os.kill(child.process, signal.SIGKILL)
    _, status = os.waitpid(child.process, 0)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process, signal.SIGKILL)  # processes that its tests have started
    os.close(child.pipe)
    shutil.rmtree(child.home, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    outcome = "timeout" if is_late else {0: "survived", 1: "killed"}.get(code, "broken")
    seconds = round(time.monotonic() - child.began, 2)
    told = {**child.job.told, "outcome": outcome, "by": child.said, "seconds": seconds}
    child.job.note(told)
    return told
