"""Names of processes, by which it is known that one has died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flask_resumable import processes
from flask_resumable.processes import is_dead
from flask_resumable.processes import is_here
from flask_resumable.processes import ProcessName

sees_starts = pytest.mark.skipif(not processes._has_proc(), reason="This system does not tell when processes began.")

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


@sees_starts
def test_a_killed_process_is_dead_before_anybody_has_collected_it() -> None:
    """A zombie still has its number, but it will not do anything any more."""
    with another() as (name, process):
        assert is_here(name) and not is_dead(name)
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(name)


def test_a_killed_process_is_dead_once_it_is_collected() -> None:
    """Its number is nobody's any more."""
    with another() as (name, process):
        assert is_here(name) and not is_dead(name)
        process.kill()
        process.wait()
        assert is_dead(name)


def test_a_stopped_process_is_alive() -> None:
    """It may go on at any time."""
    with another() as (name, process):
        process.send_signal(signal.SIGSTOP)
        assert not is_dead(name)


@sees_starts
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


def test_a_process_that_could_not_tell_its_start_is_alive_as_long_as_its_number_is() -> None:
    """Another process may see more than it could itself. What it did not say is not held against it."""
    machine, *_ = str(ProcessName()).split(".")
    with another() as (_, process):
        assert not is_dead(f"{machine}.{process.pid}.0.1")
        process.kill()
        process.wait()
        assert is_dead(f"{machine}.{process.pid}.0.1")


# --- on other systems ---


@pytest.fixture
def no_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system that is not Linux. What is known of this one is forgotten before and afterwards."""
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    _forget()
    yield
    _forget()


def _forget() -> None:
    for known in (processes.boot, processes._machine, processes._linux_boot, processes._has_proc):
        known.cache_clear()


def say(values: dict[bytes, bytes | None]) -> Callable[[bytes], bytes | None]:
    """What a kernel tells that has these names."""
    return values.get


SESSION = b"6D9D1F3C-2E0F-4B8A-9E37-0123456789AB\0"
BOOT_TIME = bytes(range(16))


@pytest.mark.usefixtures("no_proc")
def test_on_macos_the_machine_is_known_by_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes of a machine know each other, until it is started again. There, nobody is hidden from others."""
    monkeypatch.setattr(processes, "_sysctl", say({b"kern.bootsessionuuid": SESSION, b"kern.boottime": BOOT_TIME}))
    name = str(ProcessName())
    _forget()
    assert is_here(name) and not is_dead(name)
    _forget()
    monkeypatch.setattr(processes, "_sysctl", say({b"kern.bootsessionuuid": SESSION.lower()}))
    assert not is_here(name)


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize(("jailed", "is_known"), [(0, True), (1, False), (None, False)])
def test_on_freebsd_processes_know_each_other_outside_of_jails(
    monkeypatch: pytest.MonkeyPatch, jailed: int | None, is_known: bool
) -> None:
    """Two jails of one machine do not see each other's processes, and must not take them for dead."""
    told = None if jailed is None else jailed.to_bytes(4, sys.byteorder)
    monkeypatch.setattr(processes, "_sysctl", say({b"security.jail.jailed": told, b"kern.boottime": BOOT_TIME}))
    name = str(ProcessName())
    assert is_here(name)
    _forget()
    assert is_here(name) == is_known


@pytest.mark.usefixtures("no_proc")
def test_where_nothing_is_known_only_ones_own_forks_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process says is not believed, be it a note about bytes or the number of a process."""
    monkeypatch.setattr(processes, "_sysctl", say({}))
    name, run = ProcessName(), processes.boot()
    assert is_here(str(name))
    child = os.fork()
    if child == 0:
        os._exit(not is_here(str(name)))
    assert os.waitpid(child, 0)[1] == 0
    _forget()
    assert not is_here(str(name)) and processes.boot() != run


@pytest.mark.usefixtures("no_proc")
def test_a_proc_of_another_kind_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some BSDs have one that looks different, or tells of other processes, as in a container that got its host's."""
    monkeypatch.setattr(processes, "_sysctl", say({b"kern.bootsessionuuid": SESSION}))
    (tmp_path / str(os.getpid())).mkdir()
    (tmp_path / str(os.getpid()) / "stat").write_text("python 123 1")
    assert str(ProcessName()).split(".")[2] == "0"
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text(SESSION.decode())
    (tmp_path / "self").symlink_to("1")
    _forget()
    assert str(ProcessName()).split(".")[2] == "0"
