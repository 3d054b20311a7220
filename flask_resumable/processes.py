"""Names for processes, by which others on the same machine can tell that one has died."""

from __future__ import annotations

import hashlib
import itertools
import os
import uuid
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_DEAD = ("Z", "X")  # states of a process that nobody has collected yet
_ENDED = -1
_UNKNOWN = 0
_serial = itertools.count(1)


class ProcessName:
    """The name of this process, for one of those who use it; another one after a fork.

    It is ``machine.pid.start.serial``: what the process runs on, its number there, when it was started, and which of
    several objects in it this is.
    """

    def __init__(self) -> None:
        self._serial = next(_serial)
        self._pid = 0
        self._name = ""

    def __str__(self) -> str:
        pid = os.getpid()
        if pid != self._pid:
            self._name = f"{_machine()}.{pid}.{_started(pid) or _UNKNOWN}.{self._serial}"
            self._pid = pid
        return self._name


def is_here(name: str | None) -> bool:
    """Whether the process of that name runs, or ran, on this machine, so that :func:`is_dead` can tell."""
    return name is not None and name.partition(".")[0] == _machine()


def is_dead(name: str | None) -> bool:
    """Whether it is certain that the process of that name has ended. Of other machines nothing is certain."""
    if name is None or not is_here(name):
        return False
    _, pid, start, _ = name.split(".")
    if not _exists(int(pid)):
        return True
    found = _started(int(pid))
    if found in (None, _ENDED):
        return found == _ENDED
    # Its number may be another's by now. What cannot be seen is taken for alive.
    return int(start) not in (found, _UNKNOWN)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def _started(pid: int) -> int | None:
    """When a process was started, in ticks since the machine was; ``None`` if that cannot be told here.

    It cannot outside Linux. Other systems count from a clock that may be set, or each in a form of its own, and a start
    that only seems to have changed would make a living process dead. There, only a number that nobody has any more
    tells of a death; a number that was given to another process, or a zombie, costs its claim's lease.
    """
    if not _has_proc():
        return None
    try:
        state, *fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return _ENDED if state in _DEAD else int(fields[18])


@cache
def boot() -> bytes:
    """16 bytes that are others after a loss of power or a restart of the machine, and on every other machine."""
    # Where the system has no name for it, nothing that another process has noted is believed.
    told = _linux_boot() or _sysctl_boot() or uuid.uuid4().bytes
    return hashlib.sha256(told).digest()[:16]


@cache
def _machine() -> str:
    """Where process numbers mean the same as here: the machine since its start, and the container.

    Where that is not certain, no process has this name but those that are forked from this one: a living process must
    never be taken for dead because it is out of sight.
    """
    where = boot().hex()
    if _linux_boot() is not None:
        try:
            where += str(os.stat(_PROC / "self/ns/pid").st_ino)
        except OSError:
            where = uuid.uuid4().hex
    return hashlib.sha256(where.encode()).hexdigest()[:16]


@cache
def _linux_boot() -> bytes | None:
    """What Linux calls the time since it was started. Without it, a ``/proc`` is another system's."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return None


@cache
def _has_proc() -> bool:
    """Whether ``/proc`` tells of the processes that we see: one from outside of a container has others."""
    try:
        return _linux_boot() is not None and os.readlink(_PROC / "self") == str(os.getpid())
    except OSError:
        return False


def _sysctl_boot() -> bytes | None:
    """The same on macOS and FreeBSD. In a jail of FreeBSD, processes of the same machine are out of sight."""
    session = _sysctl(b"kern.bootsessionuuid")
    if session is None and _sysctl(b"security.jail.jailed") == bytes(4):
        session = _sysctl(b"kern.boottime")
    return session


def _sysctl(name: bytes) -> bytes | None:
    """The value of that name, in the kernel's own form."""
    try:
        import ctypes

        told, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        call = ctypes.CDLL(None).sysctlbyname
        has_failed = call(name, told, ctypes.byref(size), None, ctypes.c_size_t(0))
    except (ImportError, AttributeError, OSError, TypeError):
        return None
    return None if has_failed else told.raw[: size.value]
