"""Which servers there are, and how each is started: ours in every way that counts here, and the peers."""

from __future__ import annotations

import json
import re
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import servers as peers
from bench.flaky import backends
from bench.measure import free_port
from bench.measure import NotAvailable
from bench.measure import running
from bench.programs import need
from bench.programs import no_control_socket
from bench.programs import ROOT
from bench.stores import Bucket
from bench.stores import Store

THREADS = 32
OURS = {
    "gthread": "gunicorn gthread",
    "gthread-2": "gunicorn gthread, 2 workers",
    "gevent": "gunicorn gevent",
    "gevent-2": "gunicorn gevent, 2 workers",
    "granian": "granian",
    "dev": "the development server",
    "nginx": "nginx, gunicorn gthread",
    "tls": "gunicorn gthread, TLS",
}
PEERS = {"node": "@tus/server", "tusd": "tusd"}
TITLES = {**OURS, **PEERS}
_GUNICORN = re.compile(r"(?P<worker>gthread|gevent|nginx|tls)(-(?P<workers>\d))?")


@dataclass(frozen=True)
class Setting:
    """Where a server keeps what it gets."""

    store: Store | None = None  # else the disk
    database: str | None = None  # a PostgreSQL server, else embedded SQLite

    @property
    def title(self) -> str:
        """In a cell of the table."""
        return f"{'S3' if self.store else 'disk'}, {'PostgreSQL' if self.database else 'SQLite'}"


@dataclass(frozen=True)
class Site:
    """A server that is running, as its clients see it."""

    port: int
    url: str
    home: Path
    bucket: Bucket | None = None
    tls: ssl.SSLContext | None = None  # for clients
    certificate: Path | None = None

    def content(self, name: str) -> bytes:
        """What is stored of a finished upload."""
        if self.bucket:
            return self.bucket.read(name)
        found = [path for path in (self.home / "uploads").rglob(name) if path.is_file()]
        return found[0].read_bytes() if found else b""


@contextmanager
def started(name: str, setting: Setting, home: Path) -> Iterator[Site]:
    """A server of its own, until the end of the block.

    :raises NotAvailable: It cannot be started here.
    """
    if name in PEERS:
        with peers.started(name, home) as server:
            yield Site(server.port, server.url, home)
        return
    home.mkdir(parents=True)
    with ExitStack() as stack:
        bucket = setting.store.bucket() if setting.store else None
        env = {
            "PYTHONPATH": str(ROOT),
            "FLAKY_HOME": str(home),
            "FLAKY_DATABASE": stack.enter_context(backends.database(setting.database)) if setting.database else "",
            "FLAKY_BUCKET": json.dumps(bucket.options()) if bucket else "",
        }
        cert = backends.certificate(home) if name == "tls" else None
        port = free_port()
        stack.enter_context(running(_command(name, port, cert), port, env=env, log=home / "log.txt"))
        if name == "nginx":
            port = stack.enter_context(backends.nginx(home, port))
        tls = ssl.create_default_context(cafile=str(cert[0])) if cert else None
        yield Site(port, "/files/", home, bucket, tls, cert[0] if cert else None)


def _command(name: str, port: int, cert: tuple[Path, Path] | None) -> list[str]:
    python, app = [sys.executable, "-m"], "bench.flaky.app:app"
    if name == "dev":
        return [*python, "flask", "--app", app, "run", "--port", str(port), "--no-reload", "--no-debugger"]
    if name == "granian":
        need("granian")
        # A connection that has gone silent keeps one of its threads: nothing can wake it there.
        options = ["--interface", "wsgi", "--no-ws", "--blocking-threads", "128", "--backpressure", "128"]
        return [*python, "granian", "--host", "127.0.0.1", "--port", str(port), *options, app]
    match = _GUNICORN.fullmatch(name)
    if match is None:
        raise NotAvailable(f"there is no server {name!r}")
    need("gunicorn", *(["gevent"] if match["worker"] == "gevent" else []))
    worker = ["-k", "gevent"] if match["worker"] == "gevent" else ["-k", "gthread", "--threads", str(THREADS)]
    command = [*python, "gunicorn", "--bind", f"127.0.0.1:{port}", "-w", match["workers"] or "1", *worker]
    if cert:
        command += ["--certfile", str(cert[0]), "--keyfile", str(cert[1])]
    return [*command, *no_control_socket(), "--log-level", "warning", app]
