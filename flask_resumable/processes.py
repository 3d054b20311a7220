"""Names for processes that let others on the same machine find out whether a process has died."""

from __future__ import annotations

import hashlib
import itertools
import os
import uuid
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_DEAD = ("Z", "X")  # states of a process that has ended but that its parent has not waited for
_ENDED = -1
_UNKNOWN = 0
_serial = itertools.count(1)


class ProcessName:
    """A name for this process, which changes after a fork.

    It has the form ``machine.pid.start.serial``: the machine, the process id, the time at which the process started,
    and a number that tells several names of one process apart.
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
    """Whether the named process runs, or ran, on this machine. Only then can :func:`is_dead` tell."""
    return name is not None and name.partition(".")[0] == _machine()


def is_dead(name: str | None) -> bool:
    """Whether the named process has certainly ended. Always false for processes of other machines."""
    if name is None or not is_here(name):
        return False
    _, pid, start, _ = name.split(".")
    if not _exists(int(pid)):
        return True
    found = _started(int(pid))
    if found in (None, _ENDED):
        return found == _ENDED
    # The id may have been given to another process. If that cannot be seen, assume that the process is alive.
    return int(start) not in (found, _UNKNOWN)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists, and belongs to another user
        return True
    return True


def _started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot, or ``None`` if this system cannot tell.

    Only Linux can. Other systems use a clock that may be adjusted, or formats of their own, and a start time that only
    seems to have changed would make a living process look dead. There, a process counts as dead only when its id is
    unused. If the id was given to another process, or the process is a zombie, its claim ends with its lease.
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
    """Return 16 bytes that identify this machine since its last boot. They change after a power failure or restart."""
    # Where the system has no such id, use a random one, so that notes of other processes are never trusted.
    told = _linux_boot() or _sysctl_boot() or uuid.uuid4().bytes
    return hashlib.sha256(told).digest()[:16]


@cache
def _machine() -> str:
    """Identify the scope in which process ids are comparable: this machine since its boot, and this container.

    Where that cannot be determined, only forks of this process share the name. A living process must never be taken for
    dead because it is out of sight.
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
    """Return Linux's id of the current boot. If there is none, ``/proc`` belongs to another kind of system."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return None


@cache
def _has_proc() -> bool:
    """Whether ``/proc`` shows our own processes. One that is mounted from outside a container shows others."""
    try:
        return _linux_boot() is not None and os.readlink(_PROC / "self") == str(os.getpid())
    except OSError:
        return False


def _sysctl_boot() -> bytes | None:
    """Return the same on macOS and FreeBSD. In a FreeBSD jail, other processes of the machine are out of sight."""
    session = _sysctl(b"kern.bootsessionuuid")
    if session is None and _sysctl(b"security.jail.jailed") == bytes(4):
        session = _sysctl(b"kern.boottime")
    return session


def _sysctl(name: bytes) -> bytes | None:
    """Return the value of a kernel variable, in the kernel's own format."""
    try:
        import ctypes

        told, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        call = ctypes.CDLL(None).sysctlbyname
        has_failed = call(name, told, ctypes.byref(size), None, ctypes.c_size_t(0))
    except (ImportError, AttributeError, OSError, TypeError):
        return None
    return None if has_failed else told.raw[: size.value]
