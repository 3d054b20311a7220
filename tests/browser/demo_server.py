"""The demo on a port of its own, with its files in a folder of the test."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tests.ports import free_port

from .waiting import PATIENCE
from .waiting import until

ROOT = Path(__file__).resolve().parents[2]
TCP = Path("/proc/net/tcp")  # on Linux
OPEN = ("01", "08")  # established, and closed by the client only
WAYS = {  # to start it
    "make": "-m demo",  # what ``make demo`` does
    "gunicorn": "-m gunicorn --no-control-socket -k gevent -w 2 -b 127.0.0.1:{port} {app}:create_app()",
    "flask": "-m flask --app {app} run --port {port}",
    "script": "demo/app.py",
}


class DemoServer:
    """The demo, in a process group of its own."""

    def __init__(
        self,
        home: Path,
        way: str = "gunicorn",
        *,
        app: str = "demo.app",
        environ: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.port = free_port()
        self._app = app
        self._command = [sys.executable, *WAYS[way].format(port=self.port, app=app).split()]
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = home / "uploads"
        self._log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._logged = 0  # bytes that do not count any more
        self.database = home / "state.sqlite"
        settings = {"UPLOAD_DIR": str(self.folder), "DATABASE_URI": f"sqlite:///{self.database}"} | settings
        self._environ = {f"FLASK_RESUMABLE_{name}": json.dumps(value) for name, value in settings.items()}
        self._environ |= {"PORT": str(self.port), "PYTHONPATH": str(ROOT), **(environ or {})}

    def start(self) -> None:
        """Start, or start again, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**os.environ, **self._environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, "the server starts")

    def renew(self) -> None:
        """Start, if it is not running, and forget all uploads and all that was logged."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        until(lambda: not self._connections(), "what other tests have sent is done with")
        with closing(sqlite3.connect(self.database, timeout=PATIENCE, isolation_level=None)) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                connection.execute(f"DELETE FROM {table}")
        for path in self.folder.rglob("*"):
            if path.is_file():
                path.unlink()
        self._logged = self._log.stat().st_size

    def clean(self) -> None:
        """What cron does: remove what has expired."""
        command = [sys.executable, "-m", "flask", "--app", self._app, "tus", "delete_expired"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **self._environ}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def kill(self) -> None:
        """``kill -9``, master and workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            until(lambda: not self._listens(), "the last worker is gone")

    def interrupt(self) -> int:
        """Ctrl-C in its terminal, which all its processes get; the exit code."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGINT)
        code = self._process.wait(PATIENCE)
        self._process = None
        return code

    @property
    def log(self) -> str:
        """What it printed."""
        return self._log.read_bytes()[self._logged :].decode()

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log
        if not self._listens():
            return False
        with suppress(HTTPError):  # an app of its own has no such page
            self.uploads()  # what listens may still wait for workers
        return True

    def _connections(self) -> list[str]:
        """Those that the server has not closed yet, as the kernel shows them."""
        if not TCP.exists():
            return []
        fields = [line.split() for line in TCP.read_text().splitlines()[1:]]
        return [
            remote for _, local, remote, state, *_ in fields if local.endswith(f":{self.port:04X}") and state in OPEN
        ]

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    # --- what it has ---

    def uploads(self) -> dict[str, Any]:
        """What the page is told."""
        with closing(urllib.request.urlopen(f"{self.url}/api/uploads", timeout=PATIENCE)) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def offset(self) -> int:
        """How far the only unfinished upload is, in bytes."""
        return sum(int(upload["offset"]) for upload in self.uploads()["unfinished"])

    def received(self) -> int:
        """How much it has of the unfinished uploads, in bytes; chunks beyond a gap count."""
        return sum(int(upload["received"]) for upload in self.uploads()["unfinished"])

    def parts(self) -> list[str]:
        """What lies on disk of unfinished files."""
        return sorted(path.name for path in self.folder.glob(".partial/*.part"))

    def digests(self) -> list[str]:
        """The SHA-256 of each finished file on disk."""
        return sorted(sha256(path) for path in self.folder.glob("*") if path.is_file())


def sha256(path: Path) -> str:
    """The file's SHA-256, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
