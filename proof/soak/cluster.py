"""Two gunicorn nodes behind nginx, with PostgreSQL, and a disk or a bucket that can fill up and stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy import text

from proof.soak.app import CLOCK
from proof.soak.app import MUTANT
from proof.soak.app import POOL
from proof.soak.mutants import Mutant
from proof.soak.stores import STORES
from tests.databases.servers import PostgreSQL
from tests.live.servers import Server
from tests.nodes.nginx import Nginx

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

    def __init__(self, kind: str, home: Path, database: str, settings: dict[str, Any], mutant: Mutant | None) -> None:
        environ = {"SOAK_HOME": str(home), "SOAK_SETTINGS": json.dumps(settings), "DATABASE_URI": database}
        if mutant is not None:
            environ |= {MUTANT: mutant.name, POOL: mutant.pool}
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


class Cluster:
    """All parts; ``with`` starts and ends them.

    :param store: Where the nodes keep bytes, one of ``STORES``.
    :param mutant: A mistake that both nodes make.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], store: str, mutant: Mutant | None = None) -> None:
        self.folder = folder
        self._settings = settings
        self._store = store
        self._mutant = mutant

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
        self.store = STORES[self._store](self.folder)
        self._undo.append(self.store.close)
        self.database = PostgreSQL()
        self._undo.append(self.database.close)
        settings = {**self.store.settings, "RESUMABLE_DOWNLOADS": True, **self._settings}
        nodes = self.folder / "nodes"
        self.nodes = [Node(kind, nodes / kind, self.database.uri, settings, self._mutant) for kind in KINDS]
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


def frozen(pid: int, seconds: float) -> None:
    """Stop a process for a while."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
