"""How each server is started: ours, the others, and the limit."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.databases import Database
from bench.databases import database
from bench.databases import embedded
from bench.kinds import kind
from bench.kinds import LIMIT
from bench.kinds import Ours
from bench.kinds import Telling
from bench.measure import free_port
from bench.measure import NotAvailable
from bench.measure import running
from bench.measure import Tree
from bench.programs import loop
from bench.programs import need
from bench.programs import no_control_socket
from bench.programs import PEERS
from bench.programs import program
from bench.programs import ROOT
from bench.stores import Bucket
from bench.stores import KEYS
from bench.stores import versitygw


@dataclass(frozen=True)
class Server:
    """A server that is running."""

    tree: Tree
    port: int
    url: str
    uploads: Path
    log: Path
    database: Database  # of the app; the extension's own, if it has no other
    backend: Tree | None = None  # the server of the database, or the store

    def log_tail(self) -> str:
        """The last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])

    def stored(self, name: str) -> Path:
        """The file of an upload.

        :raises FileNotFoundError: There is none.
        """
        name = name.partition("+")[0]  # after which tusd appends S3's own id of the upload
        if (self.uploads / name).is_file():
            return self.uploads / name
        found = [path for path in self.uploads.rglob(name) if path.is_file()]
        if not found:
            raise FileNotFoundError(f"no file {name} under {self.uploads}")
        return found[0]


@contextmanager
def started(name: str, home: Path) -> Iterator[Server]:
    """Start a server that stores everything in ``home``, until the end of the block.

    :raises NotAvailable: It cannot be started here.
    """
    what, uploads, port = kind(name), home / "uploads", free_port()
    uploads.mkdir(parents=True)
    with ExitStack() as stack:
        own = stack.enter_context(database(what.database, home) if what.database else embedded(home))
        env = app_env(home, own if what.database else None)
        bucket, backend = None, own.tree
        if what.s3:
            store = stack.enter_context(versitygw(home / "store"))
            bucket, backend = store.bucket(), store.tree
            uploads = home / "store" / bucket.name
        hook, app = "", Tree(())
        if isinstance(what, Telling):
            hook, app = stack.enter_context(_app_with_hook(what, home, env))
        cores = None
        if isinstance(what, Ours):
            command = _ours(what, port)
            env |= _settings(what, home, bucket)
            cores = {max(os.sched_getaffinity(0))} if what.worker == "pinned" else None
        else:
            server = what.server if isinstance(what, Telling) else name
            command = _other(server, port, home, hook=hook, bucket=bucket)
            env = _others_settings(home, bucket)
        tree = stack.enter_context(running(command, port, env=env, log=home / "log.txt", cores=cores)) + app
        tree.wait_until_idle()
        yield Server(tree, port, what.url, uploads, home / "log.txt", own, backend)


def app_env(home: Path, database: Database | None) -> dict[str, str]:
    """What every app here reads from its environment.

    :param database: The app's own, if it has one.
    """
    return {"BENCH_HOME": str(home), "BENCH_DATABASE": database.uri if database else "", "PYTHONPATH": str(ROOT)}


@contextmanager
def _app_with_hook(what: Telling, home: Path, env: dict[str, str]) -> Iterator[tuple[str, Tree]]:
    """Start the app that another server tells of its uploads; the URL of its hook, and its processes."""
    need("gunicorn", "gevent", "flask_sqlalchemy")
    port = free_port()
    command = _gunicorn("gevent", what.workers, port)
    command += ["--keep-alive", "60"]  # seconds: so that no hook comes in just when a connection is closed
    with running([*command, "bench.hook_app:app"], port, env=env, log=home / "hooks.txt") as tree:
        yield f"http://127.0.0.1:{port}/hook", tree


def _other(name: str, port: int, home: Path, *, hook: str, bucket: Bucket | None) -> list[str]:
    """The command for a server that is not ours.

    :param hook: The URL where it tells an app of finished uploads, or nothing.
    """
    uploads = home / "uploads"
    if name == LIMIT:
        return [str(loop()), str(port), str(uploads)]
    if name == "py-splice":
        return [sys.executable, str(PEERS / "loop.py"), str(port), str(uploads)]
    if name == "node":
        if not shutil.which("node") or not (PEERS / "node_modules" / "@tus" / "server").is_dir():
            raise NotAvailable("it needs node, and `npm install` in bench/peers")
        return ["node", str(PEERS / "node.mjs"), str(port), str(uploads), *([hook] if hook else [])]
    if name == "tuspyserver":
        need("tuspyserver", "uvicorn")
        uvicorn = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", "--no-access-log"]
        return [*uvicorn, "--app-dir", str(PEERS), "tuspyserver_app:app"]
    if name == "flowjs":
        need("flowjs", "tornado")
        return [sys.executable, str(PEERS / "flowjs_app.py"), str(port), str(uploads)]
    if name == "boto3":
        need("boto3")
        return [sys.executable, str(PEERS / "boto3_app.py"), str(port), str(uploads)]
    found = program(name.removesuffix("-s3"))
    if found is None:
        raise NotAvailable("it is neither in PATH nor in bench/peers/bin; see `make bench-peers`")
    if name == "tusd":
        command = [found, "-host", "127.0.0.1", "-port", str(port), "-verbose=false", "-upload-dir", str(uploads)]
        return command + (["-hooks-http", hook, "-hooks-enabled-events", "post-finish"] if hook else [])
    if name == "tusd-s3" and bucket:
        store = ["-s3-bucket", bucket.name, "-s3-endpoint", bucket.endpoint]
        return [found, "-host", "127.0.0.1", "-port", str(port), "-verbose=false", *store]
    where = ["--data-dir", str(uploads), "--info-dir", str(home / "info"), "--url", "/files/"]
    limits = ["--max-body-size", str(1 << 40), "--log-level", "error"]
    return [found, "--host", "127.0.0.1", "--port", str(port), *where, *limits]


def _ours(what: Ours, port: int) -> list[str]:
    threads = ["--threads", str(what.threads)] if what.threads else []
    if what.database:
        need("flask_sqlalchemy")
    if what.worker == "granian":
        need("granian")
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--no-ws", "--workers", str(what.workers), "--blocking-threads", str(what.threads)]
        return [*command, "bench.app:app"]
    need("gunicorn", *(["gevent"] if what.worker == "gevent" else []))
    worker = "gthread" if what.worker == "pinned" else what.worker
    connections = ["--worker-connections", "5000"] if worker != "sync" else []
    return [*_gunicorn(worker, what.workers, port), *threads, *connections, "bench.app:app"]


def _gunicorn(worker: str, workers: int, port: int) -> list[str]:
    command = [sys.executable, "-m", "gunicorn", "-w", str(workers), "-k", worker, "--bind", f"127.0.0.1:{port}"]
    return [*command, *no_control_socket(), "--log-level", "warning"]


def _settings(what: Ours, home: Path, bucket: Bucket | None) -> dict[str, str]:
    """What the app reads from its environment, in addition to where it keeps things."""
    return {
        "BENCH_DURABILITY": what.durability,
        "BENCH_FOLDER": str(home / "chunks") if what.folder else "",
        "BENCH_ROWS": "yes" if what.rows else "",
        "BENCH_BUCKET": json.dumps(bucket.options()) if bucket else "",
    }


def _others_settings(home: Path, bucket: Bucket | None) -> dict[str, str]:
    """The environment of servers that are not ours."""
    env = {"BENCH_HOME": str(home / "uploads"), "TMPDIR": str(home / "uploads"), "NODE_ENV": "production"}
    if bucket:
        keys = {"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1], "AWS_REGION": "us-east-1"}
        env |= {**keys, "BENCH_BUCKET": bucket.name, "BENCH_ENDPOINT": bucket.endpoint}
    return env
