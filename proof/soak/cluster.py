"""Two gunicorn nodes behind nginx, with PostgreSQL and a disk of their own that can fill up and stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy import text

from proof.soak.app import CLOCK
from tests.databases.servers import PostgreSQL
from tests.live.servers import Server
from tests.nodes.nginx import Nginx
from tests.prerequisites import require_program

DISK = 8 * 1024**3  # bytes, of which few are used: what clients leave in an hour must fit
DAYS_AHEAD = 9  # then everything has expired that can, parts of concatenations included
KINDS = ("gthread", "gevent")
OPTIONS = {
    "gthread": ("-w", "2", "--threads", "64", "--graceful-timeout", "10", "--timeout", "90"),
    "gevent": ("-w", "2", "--graceful-timeout", "10", "--timeout", "90"),
}
PATIENCE = 300.0  # seconds that a node may take to come up


class Node(Server):
    """A gunicorn with a home and a clock of its own."""

    app = "proof.soak.app:create_app"

    def __init__(self, kind: str, home: Path, database: str, settings: dict[str, Any]) -> None:
        environ = {"SOAK_HOME": str(home), "SOAK_SETTINGS": json.dumps(settings), "DATABASE_URI": database}
        super().__init__(kind, home, options=OPTIONS[kind], environ=environ)

    def start(self) -> None:
        """Start, patiently."""
        try:
            super().start()
        except AssertionError:  # the machine may be busy
            deadline = time.monotonic() + PATIENCE
            while not self._answers():
                if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def move_clock(self, seconds: float) -> None:
        """Let the node's clock be ahead, or behind."""
        new = self.home / f"{CLOCK}.new"
        new.write_text(str(seconds))
        new.replace(self.home / CLOCK)

    def command(self, *words: str, days: float = 0) -> subprocess.CompletedProcess[str]:
        """Run ``flask tus``, its clock some days ahead."""
        return self._run(words, days).result()

    def start_command(self, *words: str) -> Command:
        """Start ``flask tus``."""
        return self._run(words, 0)

    def _run(self, words: tuple[str, ...], days: float) -> Command:
        line = [sys.executable, "-m", "flask", "--app", self.app, "tus", *words]
        env = {**self.env(), "SOAK_AHEAD": str(days * 86400), "SOAK_HOME": str(self.home / "commands")}
        (self.home / "commands").mkdir(exist_ok=True)
        pipe = subprocess.PIPE
        return Command(subprocess.Popen(line, env=env, cwd=self.home, stdout=pipe, stderr=pipe, text=True))


@dataclass
class Command:
    """A command that runs."""

    process: subprocess.Popen[str]

    def result(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end."""
        out, err = self.process.communicate(timeout=600)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.communicate()


class Disk:
    """ext4 on a file, or a folder where that is not possible: then it never fills up and never stops."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self.path.mkdir()
        image = folder / "disk.image"
        with image.open("wb") as file:
            file.truncate(DISK)
        quiet = {"capture_output": True, "check": True}
        try:
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], **quiet)  # type: ignore[call-overload]
            subprocess.run(["mount", "-o", "loop", str(image), str(self.path)], **quiet)  # type: ignore[call-overload]
            self.is_own = True
        except (OSError, subprocess.CalledProcessError):
            image.unlink()
            self.is_own = False
        self._filler = self.path / "filler"
        self._freezing = threading.Lock()

    @property
    def uploads(self) -> Path:
        """The upload folder."""
        return self.path / "uploads"

    def fill(self) -> None:
        """Leave no room."""
        with self._filler.open("wb") as file, suppress(OSError):
            for size in (1 << 20, 1 << 12):  # what cannot be reserved at once is reserved in smaller pieces
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)

    def empty(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    def freeze(self, seconds: float) -> None:
        """Let every write wait for a while."""
        program = require_program("fsfreeze", "apt-get install util-linux")
        with self._freezing:
            subprocess.run([program, "-f", str(self.path)], check=True)
            try:
                time.sleep(seconds)
            finally:
                subprocess.run([program, "-u", str(self.path)], check=True)

    def close(self) -> None:
        """Take it away."""
        if self.is_own:
            for _ in range(50):
                if subprocess.run(["umount", str(self.path)], capture_output=True).returncode == 0:
                    return
                time.sleep(0.2)
            subprocess.run(["umount", "-l", str(self.path)])


class Cluster:
    """All parts; ``with`` starts and ends them."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self._settings = settings

    def __enter__(self) -> Cluster:
        self._undo: list[Callable[[], None]] = []
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for undo in reversed(self._undo):
            undo()

    def _start(self) -> None:
        self.disk = Disk(self.folder)
        self._undo.append(self.disk.close)
        self.database = PostgreSQL()
        self._undo.append(self.database.close)
        settings = {"RESUMABLE_UPLOAD_DIR": str(self.disk.uploads), "RESUMABLE_DOWNLOADS": True, **self._settings}
        nodes = self.folder / "nodes"
        self.nodes = [Node(kind, nodes / kind, self.database.uri, settings) for kind in KINDS]
        for node in self.nodes:
            self._undo.append(node.stop)
            node.start()
        self._engine = create_engine(self.database.uri, pool_pre_ping=True)
        self._undo.append(self._engine.dispose)
        self._nginxes = 0
        self.nginx = self._proxy()
        self._undo.append(lambda: self.nginx.close())
        self.port = self.nginx.port

    def _proxy(self) -> Nginx:
        self._nginxes += 1
        return Nginx(self.folder / f"nginx{self._nginxes}", [node.port for node in self.nodes])

    def restart_proxy(self) -> None:
        """A proxy at another port, as all clients find out."""
        self.nginx.close()
        self.nginx = self._proxy()
        self.port = self.nginx.port

    def query(self, statement: str, **values: object) -> list[Any]:
        """Ask the database."""
        with self._engine.connect() as connection:
            return [*connection.execute(text(statement), values).all()]

    def connections(self) -> int:
        """How many connections the nodes have to the database."""
        (row,) = self.query(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(row[0])

    def drop_connections(self) -> None:
        """End every connection to the database, as a failover does."""
        self.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def files(self) -> list[str]:
        """Every file in the upload folder, without its own."""
        root = self.disk.uploads
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    def part(self, upload_id: str) -> Path:
        """The file of an unfinished upload."""
        return self.disk.uploads / ".partial" / f"{upload_id}.part"


def frozen(pid: int, seconds: float) -> None:
    """Stop a process for a while."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
