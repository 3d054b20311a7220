"""Starts the app under real WSGI servers, each in a process group of its own, on loopback, logging to a file."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any
from typing import ClassVar

import gunicorn.config

from tests.ports import free_port

from .journal import Journal
from .journal import PATIENCE
from .raw import Tus
from .tls import Certificate

TESTS = Path(__file__).resolve().parents[1]
STREAMING = ("werkzeug", "gthread", "gevent")  # servers that one would choose for uploads
ALL = (*STREAMING, "sync")
GUNICORN = {
    "gthread": ("-k", "gthread", "--threads", "8"),
    "gthread2": ("-k", "gthread", "--threads", "8", "-w", "2"),
    "gevent": ("-k", "gevent"),
    "sync": ("-k", "sync"),
}

# The others: how Python starts them, at a port.
OTHERS = {
    "granian": "-m granian --interface wsgi --host 127.0.0.1 --port {port} --blocking-threads 64 --factory {app}",
    "waitress": "-m waitress --listen=127.0.0.1:{port} --threads 8 --call {app}",
    "cheroot": "-m live.cheroot_server {port}",
    "uwsgi": "-m live.uwsgi_server {port} {app}",
}
# Becomes another program, which ends with the tests also if these are killed: prctl(PR_SET_PDEATHSIG, SIGKILL).
DIE_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
WSGIREF = """
import sys
from wsgiref.simple_server import make_server
from live.app import create_app
make_server("127.0.0.1", int(sys.argv[1]), create_app()).serve_forever()
"""


@dataclass
class Server:
    """One app on one WSGI server. ``settings`` go into ``app.config`` under RESUMABLE_, ``options`` to gunicorn."""

    app: ClassVar[str] = "live.app:create_app"
    patience: ClassVar[float] = PATIENCE  # seconds that it may take to start

    kind: str
    home: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    certificate: Certificate | None = None  # then it speaks TLS

    def __post_init__(self) -> None:
        (self.home / "orders").mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.tus = Tus(self.port, None if self.certificate is None else self.certificate.context)
        self.journal = Journal(self.home / "journal")
        self.log = self.home / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    # --- the process ---

    def start(self) -> None:
        """Start, or start again, and wait until it answers."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-c", DIE_WITH_PARENT, sys.executable, *self._command()]
            self.process = subprocess.Popen(
                command, env=self.env(), cwd=self.home, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + self.patience
        while not self._answers():
            assert self.process.poll() is None, f"The server ended at once:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"The server does not answer:\n{self.log.read_text()}"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, with all its workers."""
        if self.process is not None:
            self.signal_group(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def signal_group(self, number: int) -> None:
        """Send a signal to the server and its workers."""
        with suppress(ProcessLookupError):  # all of them have ended already
            os.killpg(self.pid, number)

    def terminate(self) -> None:
        """Tell it to stop, as a deployment does."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def kill_worker(self, pid: int) -> None:
        """End one worker at once, and wait until the master has noticed."""
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while pid in self.workers():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        """The process that was started: with gunicorn, the master."""
        assert self.process is not None
        return self.process.pid

    def kill_master(self) -> list[int]:
        """End the master alone at once; the workers, which will notice."""
        workers = self.workers()
        os.kill(self.pid, signal.SIGKILL)
        self.wait()
        return workers

    def workers(self) -> list[int]:
        """The processes that answer requests."""
        if self.kind not in GUNICORN:
            return [self.pid]
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(child) for child in children.read_text().split()]

    def env(self, **more: str) -> dict[str, str]:
        """The environment that the app's processes run in."""
        settings = {f"RESUMABLE_{name}": value for name, value in self.settings.items()}
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
            "PYTHONUNBUFFERED": "1",
            "LIVE_HOME": str(self.home),
            "LIVE_SETTINGS": json.dumps(settings),
            **({"LIVE_MORTAL": "1"} if self.kind == "granian" else {}),
            **self.environ,
            **more,
        }

    def flask(self, *args: str, ahead: float = 0) -> subprocess.CompletedProcess[str]:
        """Run the ``flask`` command, its clock some seconds ahead, beside the server."""
        command = [sys.executable, "-m", "flask", "--app", self.app, *args]
        env = self.env(LIVE_AHEAD=str(ahead))
        return subprocess.run(command, env=env, cwd=self.home, capture_output=True, text=True, timeout=4 * PATIENCE)

    def _command(self) -> list[str]:
        """What Python is started with."""
        if self.kind == "wsgiref":
            return ["-c", WSGIREF, str(self.port)]
        if self.kind == "werkzeug":
            run = ["-m", "flask", "--app", self.app, "run", "--host", "127.0.0.1", "--port", str(self.port)]
            return [*run, "--no-reload", "--no-debugger", *self._tls("--cert", "--key"), *self.options]
        if self.kind in OTHERS:
            start = OTHERS[self.kind].format(port=self.port, app=self.app).split()
            return [*start, *self._tls("--ssl-certificate", "--ssl-keyfile"), *self.options]
        bind = ["--bind", f"127.0.0.1:{self.port}", "--graceful-timeout", "3"]
        if any(setting.name == "control_socket_disable" for setting in gunicorn.config.KNOWN_SETTINGS):
            bind.append("--no-control-socket")  # it would be one socket in the home folder for all instances
        bind += self._tls("--certfile", "--keyfile")
        return ["-m", "gunicorn", *bind, *GUNICORN[self.kind], *self.options, f"{self.app}()"]

    def _tls(self, certificate: str, key: str) -> list[str]:
        """The options by which this server is told to speak TLS."""
        if self.certificate is None:
            return []
        return [certificate, str(self.certificate.certificate), key, str(self.certificate.key)]

    def _answers(self) -> bool:
        try:
            return self.tus.request("OPTIONS", "/files/").status == 204
        except OSError:
            return False

    # --- what the app keeps ---

    def order(self, hook: str, what: str) -> None:
        """From now on, the hook does something: ``sleep 1``, ``fail``, ``die``."""
        (self.home / "orders" / hook).write_text(what)

    def countermand(self, hook: str) -> None:
        """The hook behaves again."""
        (self.home / "orders" / hook).unlink()

    @property
    def folder(self) -> Path:
        """Where the uploads are."""
        return self.home / "uploads"

    def part(self, path: str) -> Path:
        """The file of an unfinished upload."""
        return self.folder / ".partial" / f"{id_of(path)}.part"

    def finished(self, path: str) -> Path:
        """The file of a finished upload."""
        return self.folder / id_of(path)

    def stored(self, path: str, offset: int) -> bytes:
        """The bytes on the disk, up to an offset."""
        file = self.finished(path) if self.finished(path).exists() else self.part(path)
        if not offset and not file.exists():
            return b""
        with file.open("rb") as stream:
            return stream.read(offset)

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the app's database."""
        with closing(sqlite3.connect(self.home / "app.sqlite", timeout=PATIENCE)) as connection:
            return connection.execute(statement, values).fetchall()

    def receipts(self, path: str) -> list[str]:
        """The digests that on_complete wrote down for an upload: one for each time that it took effect."""
        return [row[0] for row in self.query("SELECT sha256 FROM receipt WHERE upload_id = ?", id_of(path))]


def id_of(path: str) -> str:
    """An upload's id, from its path."""
    return path.rpartition("/")[2]


def peak_memory(pid: int) -> int:
    """The most bytes of memory that a process has had at once (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
