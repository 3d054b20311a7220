"""Two servers on one database and one storage: in this process, or as processes of their own that can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from abc import ABC
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any
from typing import TYPE_CHECKING

from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy import text

from flask_resumable.processes import ProcessName
from flask_resumable.service import claims
from tests.live.raw import Connection
from tests.live.servers import Server

from .app import AHEAD
from .app import COMPLETIONS
from .app import Config
from .app import create_app

if TYPE_CHECKING:
    from tests.databases.servers import DatabaseServer
    from tests.s3.conftest import Store

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
PATIENCE = 120.0  # seconds for what must happen
NODES = (0, 1)


@dataclass
class Request:
    """What a client sends. With ``cut``, its connection ends after so many bytes of the body."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    cut: int | None = None


@dataclass
class Reply:
    """What it is answered. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def offset(self) -> int | None:
        """The offset in it, if there is one."""
        return int(self.headers["upload-offset"]) if "upload-offset" in self.headers else None


class Running(ABC):
    """A request whose body hangs."""

    is_dead = False  # its process was killed
    is_told_to_leave = False  # its server was told to stop

    @abstractmethod
    def more(self, body: bytes) -> None:
        """Send more of the body, and wait until the server has it."""

    @abstractmethod
    def end(self, body: bytes) -> Reply | None:
        """Send the last bytes, end the connection, and return the answer; ``None`` if nobody is left to give one."""


class World(ABC):
    """What a campaign can do. Times are in seconds from some moment."""

    sliding = True  # whether each write postpones the expiry
    tolerance = 0.0  # seconds by which its clock is not known
    exact = True  # whether a request finds each byte that another one has received
    once = True  # whether on_complete takes effect once even if processes die

    @abstractmethod
    def send(self, node: int, request: Request) -> Reply:
        """A whole exchange."""

    @abstractmethod
    def begin(self, node: int, request: Request, size: int) -> Running:
        """Send a request with the first bytes of its body, and leave it there."""

    @abstractmethod
    def kill(self, node: int) -> None:
        """End a server at once, and start another in its place."""

    @abstractmethod
    def restart(self, node: int) -> None:
        """Stop a server as a deployment does, so that its requests save what they have, and start another."""

    @abstractmethod
    def advance(self, seconds: float) -> None:
        """Move the clock."""

    @abstractmethod
    def now(self) -> float:
        """The time."""

    @abstractmethod
    def completions(self) -> Counter[str]:
        """How often ``on_complete`` has taken effect, by the ids of uploads."""

    @abstractmethod
    def kept(self) -> set[str]:
        """The names of all files or objects."""

    def stop_store(self) -> bool:
        """End the object store at once. Return whether there is one that can be started again."""
        return False

    def start_store(self) -> None:
        """Start it again."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """End everything, and remove what is left."""


def bucket_settings(store: Store) -> dict[str, Any]:
    """The settings of an app for a bucket."""
    return {
        "STORAGE": "s3",
        "S3_BUCKET": store.bucket,
        "S3_PREFIX": store.prefix,
        "S3_ENDPOINT_URL": store.server.url,
        "S3_REGION": "us-east-1",
        "S3_ACCESS_KEY": store.server.access_key,
        "S3_SECRET_KEY": store.server.secret_key,
    }


def files_in(folder: Path) -> set[str]:
    """All files, without the fences of uploads that are gone, which the cleaner removes later."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- in this process ---


class _Pipe:
    """A body whose next bytes come when they are sent."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._data = b""
        self._has_ended = self._has_crashed = self._waits = False

    def read(self, size: int = -1, /) -> bytes:
        with self._changed:
            while not (self._data or self._has_ended or self._has_crashed):
                self._waits = True
                self._changed.notify_all()
                self._changed.wait()
            self._waits = False
            if self._has_crashed:
                raise ConnectionResetError
            block, self._data = (self._data, b"") if size < 0 else (self._data[:size], self._data[size:])
            return block

    read1 = read  # it returns what is there

    def send(self, body: bytes, *, ends: bool = False, crashes: bool = False) -> None:
        with self._changed:
            self._data += body
            self._has_ended |= ends
            self._has_crashed |= crashes
            self._changed.notify_all()

    def settle(self, thread: threading.Thread) -> None:
        """Wait until all was taken, and more is waited for."""
        with self._changed:
            deadline = time.monotonic() + PATIENCE
            while thread.is_alive() and not (self._waits and not self._data):
                self._changed.wait(0.01)
                assert time.monotonic() < deadline, "The body is not read."


class _Thread(Running):
    def __init__(self, world: InProcess, node: int, request: Request, size: int) -> None:
        self.pipe = _Pipe()
        self._reply: Reply | None = None
        self._work = threading.Thread(target=self._run, args=(world.apps[node], request), daemon=True)
        self.pipe.send(request.body[:size])
        self._work.start()
        self.pipe.settle(self._work)

    def _run(self, app: Flask, request: Request) -> None:
        self._reply = _call(app, request, self.pipe)

    def more(self, body: bytes) -> None:
        self.pipe.send(body)
        self.pipe.settle(self._work)

    def end(self, body: bytes) -> Reply | None:
        self.pipe.send(body, ends=True)
        self._work.join(PATIENCE)
        assert not self._work.is_alive(), "A request does not end."
        return self._reply

    def crash(self) -> None:
        self.pipe.send(b"", crashes=True)
        self._work.join(PATIENCE)


def _call(app: Flask, request: Request, body: Any = None) -> Reply:
    pipe = body
    if pipe is None:
        pipe = _Pipe()
        pipe.send(request.body[: request.cut], ends=True)
    environ = {"wsgi.input": pipe, "CONTENT_LENGTH": str(len(request.body))} if request.body else {}
    headers = dict(request.headers)
    if "Content-Type" in headers:
        environ["CONTENT_TYPE"] = headers.pop("Content-Type")
    response = app.test_client().open(
        request.path, method=request.method, headers=headers, environ_overrides=environ, buffered=True
    )
    fields = {name.lower(): value for name, value in response.headers.items()}
    reply = Reply(response.status_code, fields, b"" if request.method == "HEAD" else response.data)
    response.close()
    return reply


class InProcess(World):
    """Two apps in this process. One that is "killed" only looks dead to the others: its requests may wake up later."""

    def __init__(self, folder: Path, *, sliding: bool, store: Store | None = None) -> None:
        self._folder = folder
        self._store = store
        self._now = START
        self._dead: set[str] = set()
        self._running: list[tuple[int, _Thread]] = []
        self.exact = store is None
        self.sliding = sliding
        settings = {
            "DURABILITY": "none",
            "SLIDING_EXPIRATION": sliding,
            **({} if store is None else bucket_settings(store)),
        }
        (folder / "instance").mkdir(parents=True)
        config = Config(folder, f"sqlite:///{folder / 'app.sqlite'}", settings)
        self.apps = [create_app(config, lambda: self._now) for _ in NODES]
        self._engine = create_engine(config.database)
        self._is_dead = vars(claims)["is_dead"]
        vars(claims)["is_dead"] = lambda name: name in self._dead or self._is_dead(name)

    def send(self, node: int, request: Request) -> Reply:
        return _call(self.apps[node], request)

    def begin(self, node: int, request: Request, size: int) -> Running:
        running = _Thread(self, node, request, size)
        self._running.append((node, running))
        return running

    def kill(self, node: int) -> None:
        # A new app would know no claims, and have another name; making one takes a thousand times longer.
        known = self.apps[node].extensions["resumable"].service._claims
        self._dead.add(str(known._name))
        known._name, known._claimed_uploads = ProcessName(), {}
        for at, running in self._running:
            running.is_dead |= at == node
        self._running = [(at, running) for at, running in self._running if at != node]

    def restart(self, node: int) -> None:
        self.kill(node)  # there is no server here that could be told to stop

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def now(self) -> float:
        return (self._now - START).total_seconds()

    def completions(self) -> Counter[str]:
        with self._engine.connect() as connection:
            rows = connection.execute(text(f"SELECT upload_id, count(*) FROM {COMPLETIONS} GROUP BY upload_id"))
            return Counter({row[0]: row[1] for row in rows})

    def kept(self) -> set[str]:
        return files_in(self._folder / "uploads") if self._store is None else self._store.kept()

    def close(self) -> None:
        vars(claims)["is_dead"] = self._is_dead
        for app in self.apps:
            app.extensions["resumable"].repository.dispose()
            with app.app_context():
                app.extensions["sqlalchemy"].engine.dispose()
        self._engine.dispose()
        shutil.rmtree(self._folder, ignore_errors=True)


# --- in processes of their own ---


class _Node(Server):
    app = "proof.models.app:live_app"
    patience = 600.0  # seconds; the campaigns keep the machine busy


class _Sent(Running):
    def __init__(self, port: int, request: Request, size: int) -> None:
        self._method = request.method
        self._connection = Connection(port, fields={})
        self._connection.start(request.method, request.path, _framed(request), body=request.body[:size])
        self._connection.until_delivered()

    def more(self, body: bytes) -> None:
        with suppress(ConnectionError):
            self._connection.send(body)
            self._connection.until_delivered()

    def end(self, body: bytes) -> Reply | None:
        with self._connection, suppress(ConnectionError):
            with suppress(ConnectionError):  # it may have answered already
                self._connection.send(body)
            self._connection.finish()
            answer = self._connection.answer(self._method)
            return Reply(answer.status, answer.headers, answer.body)
        return None


def _framed(request: Request) -> dict[str, str | int]:
    return {**request.headers, **({"Content-Length": len(request.body)} if request.body else {})}


class Processes(World):
    """Two gunicorn servers with one worker each, which are killed with ``kill -9``."""

    tolerance = 60.0
    exact = False

    def __init__(
        self,
        folder: Path,
        database: DatabaseServer | None,
        store: Store | None,
        *,
        store_keeps: bool = False,
        mutant: str | None = None,
    ) -> None:
        self.store_keeps = store_keeps  # what it has, when it is killed
        self._home = folder
        (folder / "instance").mkdir(parents=True)
        self._database = f"sqlite:///{folder / 'app.sqlite'}" if database is None else database.uri
        self.once = not self._database.startswith("mongodb:")
        self._store = store
        self._ahead = 0.0
        self._write_ahead()
        settings = {"LEASE": 2, **({} if self._store is None else bucket_settings(self._store))}
        environ = {**Config(folder, self._database, settings, mutant).to_environ(), "PYTHONPATH": str(ROOT)}
        self._nodes = [_Node("gthread", folder, {}, ("--preload", "--log-level", "warning"), environ) for _ in NODES]
        for node in self._nodes:
            node.start()
        self._running: list[tuple[int, _Sent]] = []
        self._mongo: Any = None if self.once else _mongo(self._database)
        self._engine = create_engine(self._database) if self.once else None

    def send(self, node: int, request: Request) -> Reply:
        with Connection(self._nodes[node].port, fields={}) as connection:
            connection.start(request.method, request.path, _framed(request), body=request.body[: request.cut])
            if request.cut is not None:
                connection.finish()
            answer = connection.answer(request.method)
            return Reply(answer.status, answer.headers, answer.body)

    def begin(self, node: int, request: Request, size: int) -> Running:
        running = _Sent(self._nodes[node].port, request, size)
        self._running.append((node, running))
        return running

    def kill(self, node: int) -> None:
        server = self._nodes[node]
        for worker in server.workers():
            server.kill_worker(worker)
        _await(server._answers)
        for running in self._removed(node):
            running.is_dead = True

    def restart(self, node: int) -> None:
        server = self._nodes[node]
        before = server.workers()
        for worker in before:
            os.kill(worker, signal.SIGTERM)
        _await(lambda: not {*before} & {*server.workers()})
        _await(server._answers)
        for running in self._removed(node):
            running.is_told_to_leave = True

    def _removed(self, node: int) -> list[_Sent]:
        """Forget the requests that hang at a server."""
        removed = [running for at, running in self._running if at == node]
        self._running = [(at, running) for at, running in self._running if at != node]
        return removed

    def advance(self, seconds: float) -> None:
        self._ahead += seconds
        self._write_ahead()

    def _write_ahead(self) -> None:
        path = self._home / AHEAD
        with path.open("r+" if path.exists() else "w") as file:  # in one write, at one place: it is read meanwhile
            file.write(f"{self._ahead:040.3f}")

    def now(self) -> float:
        return time.time() + self._ahead

    def completions(self) -> Counter[str]:
        if self._engine is None:
            groups = self._mongo.get_default_database()[COMPLETIONS].aggregate(
                [{"$group": {"_id": "$upload_id", "count": {"$sum": 1}}}]
            )
            return Counter({group["_id"]: group["count"] for group in groups})
        with self._engine.connect() as connection:
            rows = connection.execute(text(f"SELECT upload_id, count(*) FROM {COMPLETIONS} GROUP BY upload_id"))
            return Counter({row[0]: row[1] for row in rows})

    def kept(self) -> set[str]:
        return files_in(self._home / "uploads") if self._store is None else self._store.kept()

    def stop_store(self) -> bool:
        if self._store is None or not self.store_keeps:
            return False
        self._store.server.kill()
        return True

    def start_store(self) -> None:
        assert self._store is not None
        self._store.server.start()

    def close(self) -> None:
        for node in self._nodes:
            node.stop()
        if self._engine is not None:
            self._engine.dispose()
        if self._mongo is not None:
            self._mongo.close()


def _await(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _mongo(uri: str) -> Any:
    import pymongo

    return pymongo.MongoClient(uri)
