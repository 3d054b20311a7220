"""Which servers there are, and how each is started: ours, the peers, and the limit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from bench.measure import free_port
from bench.measure import NotAvailable
from bench.measure import running
from bench.measure import Tree

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(__file__).resolve().parent / "peers"
OURS = re.compile(r"(gthread|pinned|gevent|granian|sync)(?:-(\d+))?(?:-(none|data|full))?(-folder)?")
_THREADS = {"gthread": 16, "pinned": 4, "granian": 16}


@dataclass(frozen=True)
class Kind:
    """A sort of server."""

    title: str
    protocols: frozenset[str] = frozenset({"tus"})
    url: str = "/files/"


LIMIT = "c-splice"
LIMITS = (LIMIT, "py-splice")
PEER_KINDS = {
    LIMIT: Kind("limit: C loop, splice", frozenset({"tus", "octet"})),
    "py-splice": Kind("limit: Python loop, splice"),
    "node": Kind("@tus/server + file-store", url="/files"),
    "tuspyserver": Kind("tuspyserver on uvicorn", url="/files"),
    "tusd": Kind("tusd"),
    "rustus": Kind("rustus"),
    "flowjs": Kind("flowjs on Tornado", frozenset({"form"})),
}


@dataclass(frozen=True)
class Server:
    """One that is running."""

    tree: Tree
    port: int
    url: str
    uploads: Path
    log: Path

    def log_tail(self) -> str:
        """The last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])

    def stored(self, name: str) -> Path:
        """The file of an upload.

        :raises FileNotFoundError: There is none.
        """
        if (self.uploads / name).is_file():
            return self.uploads / name
        found = [path for path in self.uploads.rglob(name) if path.is_file()]
        if not found:
            raise FileNotFoundError(f"no file {name} under {self.uploads}")
        return found[0]


def kind(name: str) -> Kind:
    """What is known of a server before it is started.

    :raises KeyError: There is no such server.
    """
    match = OURS.fullmatch(name)
    if not match:
        return PEER_KINDS[name]
    worker, threads, durability, folder = match.groups()
    threads = threads or _THREADS.get(worker)
    words = {"pinned": "gunicorn gthread, one core", "granian": "granian"}.get(worker, f"gunicorn {worker}")
    title = f"ours: {words}" + (f", {threads} threads" if threads else "")
    title += f', durability "{durability}"' if durability and durability != "data" else ""
    title += ", chunks in a folder" if folder else ""
    return Kind(title, frozenset({"tus", "form", "octet"}))


def is_ours(name: str) -> bool:
    """Whether it is this project's app."""
    return OURS.fullmatch(name) is not None


@contextmanager
def started(name: str, home: Path) -> Iterator[Server]:
    """A server of its own, keeping all it stores in ``home``, until the end of the block.

    :raises NotAvailable: It cannot be had here.
    """
    port = free_port()
    uploads = home / "uploads"
    uploads.mkdir(parents=True)
    command, env, cores = _command(name, port, home, uploads)
    with running(command, port, env=env, log=home / "log.txt", cores=cores) as tree:
        yield Server(tree, port, kind(name).url, uploads, home / "log.txt")


def _command(name: str, port: int, home: Path, uploads: Path) -> tuple[list[str], dict[str, str], set[int] | None]:
    if match := OURS.fullmatch(name):
        return _ours(match, port, home)
    folder = {"BENCH_HOME": str(uploads), "TMPDIR": str(uploads)}
    if name == LIMIT:
        return [str(_compiled()), str(port), str(uploads)], {}, None
    if name == "py-splice":
        return [sys.executable, str(PEERS / "loop.py"), str(port), str(uploads)], {}, None
    if name == "node":
        if not shutil.which("node") or not (PEERS / "node_modules" / "@tus" / "server").is_dir():
            raise NotAvailable("it needs node, and `npm install` in bench/peers")
        return ["node", str(PEERS / "node.mjs"), str(port), str(uploads)], {"NODE_ENV": "production"}, None
    if name == "tuspyserver":
        need("tuspyserver", "uvicorn")
        uvicorn = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", "--no-access-log"]
        return [*uvicorn, "--app-dir", str(PEERS), "tuspyserver_app:app"], folder, None
    if name == "flowjs":
        need("flowjs", "tornado")
        return [sys.executable, str(PEERS / "flowjs_app.py"), str(port), str(uploads)], folder, None
    found = program(name)
    if found is None:
        raise NotAvailable("it is neither in PATH nor in bench/peers/bin; see `make bench-peers`")
    if name == "tusd":
        return [found, "-host", "127.0.0.1", "-port", str(port), "-upload-dir", str(uploads)], {}, None
    where = ["--data-dir", str(uploads), "--info-dir", str(home / "info"), "--url", "/files/"]
    limits = ["--max-body-size", str(1 << 40), "--log-level", "error"]
    return [found, "--host", "127.0.0.1", "--port", str(port), *where, *limits], {}, None


def _ours(match: re.Match[str], port: int, home: Path) -> tuple[list[str], dict[str, str], set[int] | None]:
    worker, wanted, durability, folder = match.groups()
    threads = wanted or str(_THREADS.get(worker, ""))
    env = {
        "BENCH_HOME": str(home),
        "BENCH_DURABILITY": durability or "data",
        "BENCH_FOLDER": str(home / "chunks") if folder else "",
        "PYTHONPATH": str(ROOT),
    }
    if worker == "granian":
        need("granian")
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
        return [*command, "--no-ws", "--blocking-threads", threads, "bench.app:app"], env, None
    need("gunicorn", *(["gevent"] if worker == "gevent" else []))
    name = "gthread" if worker == "pinned" else worker
    command = [sys.executable, "-m", "gunicorn", "-w", "1", "-k", name, "--bind", f"127.0.0.1:{port}"]
    command += ["--threads", threads] if threads else []
    command += no_control_socket()
    cores = {max(os.sched_getaffinity(0))} if worker == "pinned" else None
    return [*command, "--log-level", "warning", "bench.app:app"], env, cores


def no_control_socket() -> list[str]:
    """The option for a gunicorn that has one: it would be one socket in the home folder for all instances."""
    from gunicorn.config import KNOWN_SETTINGS

    has_it = any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS)
    return ["--no-control-socket"] if has_it else []


def need(*modules: str) -> None:
    """Stop if a module is not installed.

    :raises NotAvailable: One is missing.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise NotAvailable(f"{' and '.join(missing)} are not installed; see the extra `bench`")


def program(name: str) -> str | None:
    """Where a program is, if it is anywhere."""
    return shutil.which(name, path=os.pathsep.join([str(PEERS / "bin"), os.environ.get("PATH", "")]))


def _compiled() -> Path:
    """The C loop, compiled if it was not or has changed."""
    program, source = PEERS / "bin" / "loop", PEERS / "loop.c"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NotAvailable("there is no C compiler")
    program.parent.mkdir(exist_ok=True)
    subprocess.run([compiler, "-O2", "-pthread", "-o", str(program), str(source)], check=True)
    return program


def versions() -> str:
    """What took part, in one line."""
    found = [f"Python {sys.version.split()[0]}"]
    for name in ("gunicorn", "gevent", "granian", "Flask", "SQLAlchemy", "tuspyserver", "uvicorn", "flowjs", "tornado"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    if shutil.which("node"):
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
        found.append(f"node {node.strip().removeprefix('v')}")
    for name, option in (("tusd", "-version"), ("rustus", "--version")):
        if path := program(name):
            said = subprocess.run([path, option], capture_output=True, text=True, check=False).stdout
            number = re.search(r"\d+(\.\d+)+", said)
            found.append(f"{name} {number[0] if number else ''}".strip())
    for package in ("server", "file-store"):
        manifest = PEERS / "node_modules" / "@tus" / package / "package.json"
        if manifest.exists():
            found.append(f"@tus/{package} {json.loads(manifest.read_text())['version']}")
    return ", ".join(found)
