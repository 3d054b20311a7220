"""Names of processes, by which it is known that one has died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flask_resumable import processes
from flask_resumable.processes import is_dead
from flask_resumable.processes import is_here
from flask_resumable.processes import ProcessName

SAY = "from flask_resumable.processes import ProcessName; print(ProcessName(), flush=True); input()"


@contextmanager
def another() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Another process, and its name."""
    with subprocess.Popen([sys.executable, "-c", SAY], stdin=-1, stdout=-1, text=True, env=_env()) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_this_process_is_alive() -> None:
    """Each object has a name of its own, which stays."""
    first, second = ProcessName(), ProcessName()
    assert str(first) == str(first) != str(second)
    assert is_here(str(first)) and not is_dead(str(first))


def test_a_killed_process_is_dead_before_anybody_has_collected_it() -> None:
    """A zombie still has its number, but it will not do anything any more."""
    with another() as (name, process):
        assert is_here(name) and not is_dead(name)
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(name)
        process.wait()
        assert is_dead(name)


def test_a_stopped_process_is_alive() -> None:
    """It may go on at any time."""
    with another() as (name, process):
        process.send_signal(signal.SIGSTOP)
        assert not is_dead(name)


def test_a_number_that_is_another_process_by_now_does_not_bring_the_first_one_back() -> None:
    """Numbers are used again, but not the time at which a process was started."""
    machine, _, start, serial = str(ProcessName()).split(".")
    with another() as (name, process):
        assert is_dead(f"{machine}.{process.pid}.{start}.{serial}") == (start != name.split(".")[2])
        assert is_dead(f"{machine}.{process.pid}.1.{serial}")


@pytest.mark.parametrize("name", [None, "elsewhere.1.2.3", "0000000000000000.1.1.1"])
def test_nothing_is_certain_about_other_machines(name: str | None) -> None:
    """Nor about a claim that names nobody."""
    assert not is_here(name)
    assert not is_dead(name)


def test_a_forked_process_has_a_name_of_its_own() -> None:
    """The worker is another process than its master, though it has the same object."""
    name = ProcessName()
    before = str(name)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, str(name).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with os.fdopen(reader) as told:
        child = told.read()
    assert child != before
    assert is_dead(child)


def test_without_proc_a_dead_process_is_known_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: what has no process any more is dead, everything else may be alive."""
    monkeypatch.setattr(processes, "_started", lambda pid: None)
    with another() as (name, process):
        assert not is_dead(name)
        process.kill()
        process.wait()
        assert is_dead(name)
