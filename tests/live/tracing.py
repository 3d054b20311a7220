"""Runs a scenario under strace, which kills its process at a chosen system call, or lets the call fail.

A fork_server process has everything imported and forks a child for each run: that takes a tenth of a second.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.sampling import THOROUGH

from .journal import PATIENCE
from .servers import TESTS

# All that changes what is on the disk, and how each of them may fail.
WRITES = ("write", "writev", "pwrite64", "pwritev", "copy_file_range", "mkdir", "mkdirat", "link", "linkat")
OTHERS = ("fsync", "fdatasync", "ftruncate", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir")
ERROR = {**dict.fromkeys(WRITES, "ENOSPC"), **dict.fromkeys(OTHERS, "EIO")}
TROUBLES = frozenset({503, 507})  # what may be answered then
UNTRACED = 77  # the exit status of a child to which strace did not come
LOG_TAIL = 2500  # characters of a log that a failure shows
_CALL = re.compile(r"^\d+ +(\w+)\((?:\d+<([^>]*)>|\"([^\"]*)\")", re.MULTILINE)


@dataclass(frozen=True)
class Point:
    """A moment of a process: the n-th time that it makes a system call, and on which file."""

    call: str
    number: int
    file: str

    def continues(self, before: Point) -> bool:
        """Whether it only does more of what was done just before."""
        return (self.call, self.file) == (before.call, before.file)

    def inject(self, fault: str) -> str:
        """What strace is to do there."""
        return f"{self.call}:{fault}:when={self.number}"


def different(points: list[Point]) -> list[Point]:
    """The first of all points that look alike: the same is done to the same file, and so it was before and will be.

    Of several writes in a row to one file only the first is a point: whatever lies between them is a matter of SQLite.
    """
    points = [points[0], *(after for before, after in pairwise(points) if not after.continues(before))]
    deeds = [(point.call, point.file) for point in points]
    found: dict[tuple[tuple[str, str], ...], Point] = {}
    for number, point in enumerate(points):
        found.setdefault(tuple(deeds[max(number - 2, 0) : number + 3]), point)
    return [*found.values()]


def in_time(points: list[Point]) -> list[Point]:
    """Every third of the points; thoroughly, all of them."""
    return points if os.environ.get(THOROUGH) else points[::3]


class ForkServer:
    """A process that forks children which play scenarios; one at a time."""

    def __init__(self, folder: Path, strace: str, prepare: str) -> None:
        self._folder = folder
        self._strace = strace
        self._runs = 0
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "live.tracing"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.template = folder / "template"
        self.template.mkdir(parents=True)
        self.run(prepare, self.template)

    def close(self) -> None:
        """End the process."""
        self._process.communicate("")

    def home(self) -> Path:
        """A folder for a new process, prepared."""
        self._runs += 1
        return Path(shutil.copytree(self.template, self._folder / f"run{self._runs}"))

    def run(self, what: str, home: Path) -> None:
        """Do something in a new process, to its successful end."""
        self._order(what, home, is_traced=False)
        ending = self._ending()
        assert ending == 0, f"{what} ended with {ending}:\n{log_of(home)}"

    def run_traced(self, what: str, home: Path, *inject: str) -> int:
        """Do something in a new process under strace; its exit status."""
        pid = self._order(what, home, is_traced=True)
        options = ["-f", "-y", "-qq", "-o", str(home / "trace"), "-e", "trace=" + ",".join(ERROR)]
        for fault in inject:
            options += ["-e", f"inject={fault}"]
        tracer = subprocess.run([self._strace, *options, "-p", str(pid)], capture_output=True, text=True)
        ending = self._ending()
        assert ending != UNTRACED, f"strace could not attach:\n{tracer.stderr}"
        return ending

    def points(self, what: str) -> list[Point]:
        """All moments at which a process changes something on the disk, in order."""
        home = self.home()
        assert self.run_traced(what, home) == 0, log_of(home)
        counts: Counter[str] = Counter()
        points = []
        for call, opened, named in _CALL.findall((home / "trace").read_text()):
            counts[call] += 1
            file = (opened or named).removeprefix(str(home))
            points.append(Point(call, counts[call], re.sub("[0-9a-f]{32}", "<id>", file)))
        return points

    def _order(self, what: str, home: Path, *, is_traced: bool) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, str(home), is_traced]) + "\n")
        self._process.stdin.flush()
        pid = int(self._line())
        assert pid, f"{what} did not begin:\n{log_of(home)}"
        return pid

    def _ending(self) -> int:
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def log_of(home: Path) -> str:
    """The end of what a scenario's processes have logged."""
    return (home / "log").read_text()[-LOG_TAIL:]


# --- in the fork_server ---


def serve(play: Callable[[Path], object]) -> None:
    """Fork for every order. A child says its id when it begins; when it has ended, its exit status is said.

    :param play: Plays a scenario to its end, once: what libraries do once and keep, the children need not do.
    """
    with TemporaryDirectory() as folder:
        play(Path(folder))
    for line in sys.stdin:
        what, home, is_traced = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be_child(what, Path(home), is_traced)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _be_child(what: str, home: Path, is_traced: bool) -> None:
    has_begun = False

    def begin() -> None:
        nonlocal has_begun
        has_begun = True
        os.write(answers, f"{os.getpid()}\n".encode())
        if is_traced:
            _wait_for_tracer(home / "trace")

    answers = os.dup(1)
    log = os.open(home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        _act(what, home, begin)
    except BaseException:
        traceback.print_exc()
        if not has_begun:
            os.write(answers, b"0\n")
        os._exit(1)
    os._exit(0)


def _act(what: str, home: Path, begin: Callable[[], None]) -> None:
    from .scenario import LEASE
    from .scenario import Scenario
    from .scenario_checks import check
    from .scenario_checks import check_clean
    from .scenario_checks import clean

    match what:
        case "prepare":
            begin()
            Scenario(home)
        case "abandon":
            begin()
            Scenario(home).abandon()
        case "clean":
            begin()
            clean(home)
        case "check clean":
            begin()
            check_clean(home)
        case "play":
            scenario = Scenario(home)
            begin()
            scenario.play()
        case "play in trouble":
            scenario = Scenario(home, troubles=TROUBLES)
            begin()
            scenario.play()
        case "resume":
            begin()
            Scenario(home).look()
            Scenario(home, ahead=LEASE).play()
            check(home)
        case "check":
            begin()
            check(home)
        case _:
            from .move_scenario import act

            act(what, home, begin)


def _wait_for_tracer(trace: Path) -> None:
    """Make a call that does nothing, and that no scenario makes, until it is seen: attached is not enough."""
    deadline = time.monotonic() + PATIENCE
    while not trace.exists() or "writev(-1" not in trace.read_text():
        if time.monotonic() > deadline:
            os._exit(UNTRACED)
        with suppress(OSError):
            os.writev(-1, [b""])
        time.sleep(0.001)


def _play(home: Path) -> None:
    from . import scenario_checks  # noqa: F401  imported once, here, for all children
    from .scenario import Scenario

    Scenario(home).play()


if __name__ == "__main__":
    serve(_play)
