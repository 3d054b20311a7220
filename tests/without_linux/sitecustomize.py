"""Takes away what Linux has and macOS has not, before anything else runs.

Python imports a module of this name whenever it starts. With this folder in ``PYTHONPATH``, so do the tests, and each
server, worker and command that they start.

This is a simulation, and not a Mac. It shows that nothing depends on what is gone. It does not show how macOS's own
calls, file systems and sockets behave, but for what is imitated below.
"""

from __future__ import annotations

import _socket
import ctypes
import fcntl
import os
import select
import selectors
import socket
import subprocess
import sys
import uuid
from contextlib import suppress
from typing import Any

# Python's documentation says what is there on macOS. What only the tests need is left: resource.prlimit, os.waitid.
NAMES: dict[Any, tuple[str, ...]] = {
    os: (
        "copy_file_range",
        "eventfd",
        "fdatasync",
        "getrandom",
        "getxattr",
        "listxattr",
        "memfd_create",
        "pidfd_open",
        "pipe2",
        "posix_fadvise",
        "posix_fallocate",
        "removexattr",
        "sched_getaffinity",
        "sched_setaffinity",
        "setxattr",
        "splice",
        "EFD_CLOEXEC",
        "MFD_CLOEXEC",
        "O_DIRECT",
        "O_LARGEFILE",
        "O_NOATIME",
        "O_PATH",
        "O_RSYNC",
        "O_TMPFILE",
        "POSIX_FADV_DONTNEED",
        "POSIX_FADV_SEQUENTIAL",
        "POSIX_FADV_WILLNEED",
        "RWF_APPEND",
        "RWF_DSYNC",
        "RWF_HIPRI",
        "RWF_NOWAIT",
        "RWF_SYNC",
        "SPLICE_F_MORE",
        "SPLICE_F_MOVE",
        "SPLICE_F_NONBLOCK",
    ),
    fcntl: (
        "F_ADD_SEALS",
        "F_GETPIPE_SZ",
        "F_NOTIFY",
        "F_OFD_GETLK",
        "F_OFD_SETLK",
        "F_OFD_SETLKW",
        "F_SETPIPE_SZ",
        "F_SETSIG",
    ),
    select: ("epoll", "EPOLLERR", "EPOLLET", "EPOLLEXCLUSIVE", "EPOLLHUP", "EPOLLIN", "EPOLLOUT", "POLLRDHUP"),
    socket: (
        "MSG_CMSG_CLOEXEC",
        "MSG_CONFIRM",
        "MSG_ERRQUEUE",
        "MSG_FASTOPEN",
        "MSG_MORE",
        "SOCK_CLOEXEC",
        "SOCK_NONBLOCK",
        "SO_BINDTODEVICE",
        "SO_DOMAIN",
        "SO_INCOMING_CPU",
        "SO_MARK",
        "SO_PASSCRED",
        "SO_PEERCRED",
        "SO_PRIORITY",
        "SO_PROTOCOL",
        "TCP_CORK",
        "TCP_DEFER_ACCEPT",
        "TCP_INFO",
        "TCP_LINGER2",
        "TCP_QUICKACK",
        "TCP_SYNCNT",
        "TCP_USER_TIMEOUT",
        "TCP_WINDOW_CLAMP",
    ),
}
HERE = os.path.dirname(__file__)
LIBC = ("fdatasync", "splice", "sync_file_range")


def take_names_away() -> None:
    """From Python's modules, and from the C library as ``ctypes`` sees it."""
    for module, names in NAMES.items():
        places = (module, _socket) if module is socket else (module,)
        for name in names:
            for place in places:
                with suppress(AttributeError):
                    delattr(place, name)
                with suppress(AttributeError, ValueError):
                    place.__all__.remove(name)
    selectors.DefaultSelector = selectors.PollSelector  # type: ignore[misc,assignment]
    del selectors.EpollSelector
    find: Any = ctypes.CDLL.__getattr__

    def getattribute(library: Any, name: str) -> Any:
        if library._name is None:
            if name in LIBC:
                raise AttributeError(name)
            if name == "sysctlbyname":
                return sysctlbyname
        return find(library, name)

    ctypes.CDLL.__getattr__ = getattribute  # type: ignore[method-assign]


def hand_down() -> None:
    """To processes that are started with an environment of their own."""
    start: Any = subprocess.Popen.__init__

    def start_without_linux(process: Any, *arguments: Any, **options: Any) -> None:
        if options.get("env") is not None:
            path = [HERE, *filter(None, options["env"].get("PYTHONPATH", "").split(os.pathsep))]
            options["env"] = {**options["env"], "PYTHONPATH": os.pathsep.join(path)}
        start(process, *arguments, **options)

    subprocess.Popen.__init__ = start_without_linux  # type: ignore[method-assign,assignment]


# --- imitated ---


def sysctlbyname(name: bytes, told: Any, size: Any, new: None, new_size: Any) -> int:
    """macOS's way to tell how the time since its start is called."""
    if name != b"kern.bootsessionuuid":
        return -1
    told.value = BOOT.encode()
    size._obj.value = len(BOOT) + 1
    return 0


def hide_proc(event: str, arguments: tuple[Any, ...]) -> None:
    """For the package alone: the tests look there for what the processes are doing that they have started."""
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith("/proc/"):
        frame = sys._getframe(1)
        for _ in range(6):
            if frame.f_globals.get("__name__", "").startswith("flask_resumable."):
                raise FileNotFoundError(2, "There is no /proc", arguments[0])
            if frame.f_back is None:
                return
            frame = frame.f_back


def shut_as_on_bsd(sock: socket.socket, how: int, /) -> None:
    """There, a connection that is shut for reading forgets what has arrived."""
    if how != socket.SHUT_WR:
        with suppress(OSError):
            while select.select([sock], [], [], 0)[0] and _socket.socket.recv(sock, 65_536, socket.MSG_DONTWAIT):
                pass
    _socket.socket.shutdown(sock, how)


with open("/proc/sys/kernel/random/boot_id") as _boot_id:
    BOOT = str(uuid.UUID(_boot_id.read().strip())).upper()

take_names_away()
hand_down()
fcntl.F_FULLFSYNC = 51  # type: ignore[attr-defined]  # this kernel answers EINVAL, as some network shares do to macOS
socket.socket.shutdown = shut_as_on_bsd  # type: ignore[method-assign,assignment]
sys.addaudithook(hide_proc)
