"""The programs in ``docs/recipes.md`` run as they stand, with real queues, databases and scanners, and are killed."""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.databases.servers import PostgreSQL
from tests.ports import free_port
from tests.prerequisites import require_module
from tests.prerequisites import require_program
from tests.prerequisites import ROOT
from tests.prerequisites import SCRIPTS

pytestmark = pytest.mark.live

PAGE = (ROOT / "docs" / "recipes.md").read_text()
CONTENT = random.Random(14).randbytes(100_000)
PATIENCE = 60.0  # seconds
DEFINITION = "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE"  # in two, so that no scanner takes this file for the real one
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + DEFINITION.encode() + b"!$H+H*"

# Uploads a file as its client does, in a process of its own, and prints its id.
UPLOAD = """
import sys
from app import app
from flask_resumable.testing import UploadClient
sent = UploadClient(app.test_client()).upload(sys.stdin.buffer.read(), filename="a")
assert sent.status_code < 300, sent.response.text
print(sent.id)
"""

# Sends a file, which is stopped on its way, and continues.
STOPPED = """
import time
from app import app, redis, resumable
from flask_resumable.protocols.tus.messages import CONTENT_TYPE

client, content = app.test_client(), bytes(3_000_000)
tus = {"Tus-Resumable": "1.0.0"}

def send(offset, stop):
    headers = {**tus, "Upload-Offset": str(offset), "Content-Type": CONTENT_TYPE}
    return client.patch(url, data=content[offset:stop], headers=headers)

created = client.post("/files/", headers={**tus, "Upload-Length": str(len(content))})
url = "/files/" + created.location.rpartition("/")[2]
upload_id = url.rpartition("/")[2]
send(0, 1_000_000)
print(client.get("/progress/" + upload_id).text)
stopped = client.post("/stop/" + upload_id)
time.sleep(1)
print(stopped.status_code, send(1_000_000, 2_000_000).status_code)
print(client.get("/progress/" + "0" * 32).status_code)
redis.srem("stopped", upload_id)
offset = int(client.head(url, headers=tus).headers["Upload-Offset"])
with app.app_context():
    print(send(offset, None).status_code, resumable.get(upload_id).status)
"""


def code_of(title: str, name: str) -> str:
    """The program ``name`` of a recipe."""
    section = PAGE.partition(f"\n## {title}")[2].partition("\n## ")[0]
    programs: list[str] = re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S)
    found = [code for code in programs if code.startswith(f"# {name}")]
    assert len(found) == 1, f"{title}: {len(found)} programs {name}"
    return found[0]


class Recipe:
    """A folder with the programs of a recipe, and the processes that run them."""

    def __init__(self, home: Path, stack: ExitStack, **env: str) -> None:
        self.home = home
        database = f"sqlite:///{home / 'db.sqlite'}"
        (path,) = re.findall(r"^\$ export PYTHONPATH=(\S+)", PAGE, re.MULTILINE)
        self.env = {**os.environ, "PYTHONPATH": f"{path}:{ROOT}", "DATABASE_URL": database, **env}
        self._stack = stack

    def write(self, name: str, code: str) -> None:
        (self.home / name).write_text(code)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a process, which is killed after the test with all its children."""
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.home, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        self._stack.callback(self.kill, process)
        return process

    @staticmethod
    def kill(process: subprocess.Popen[bytes]) -> None:
        """Kill a process and those that it has started, in whichever group they are."""
        if process.poll() is None:
            for pid in [*_descendants(process.pid), process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()

    def run(self, *command: str, stdin: bytes = b"") -> str:
        done = subprocess.run(command, cwd=self.home, env=self.env, input=stdin, capture_output=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def upload(self, content: bytes) -> str:
        """Upload a file; its id."""
        self.write("upload.py", UPLOAD)
        return self.run(sys.executable, "upload.py", stdin=content).splitlines()[-1]

    def ask(self, expression: str) -> Any:
        """Evaluate an expression within the app."""
        code = f"from app import *\nwith app.app_context():\n    print(repr(({expression})))"
        return eval(self.run(sys.executable, "-c", code).splitlines()[-1])

    def await_(self, expression: str, wanted: object) -> None:
        self.until(lambda: self.ask(expression) == wanted, expression)

    def until(self, is_so: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < deadline, f"{what}\n{(self.home / 'log').read_text()}"
            time.sleep(0.1)


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have started."""
    children = [int(child) for one in Path(f"/proc/{pid}/task").glob("*/children") for child in one.read_text().split()]
    return [*children, *(found for child in children for found in _descendants(child))]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def _listens(where: tuple[str, int] | str) -> bool:
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    with socket.socket(family) as client:
        return client.connect_ex(where) == 0


QUEUES = {
    "Celery": ("celery", ("celery", "-A", "queueing", "worker", "--pool", "solo")),
    "RQ": ("rq", ("rq", "worker", "--url", "{redis}")),
}


@pytest.mark.parametrize("queue", [*QUEUES])
def test_an_outbox_loses_nothing_if_its_worker_is_killed(queue: str, tmp_path: Path, stack: ExitStack) -> None:
    """Nor if the queue forgets its jobs; and the result is there once."""
    module, command = QUEUES[queue]
    require_module(module, f"pip install {module}")
    redis = require_program("redis-server", "apt-get install redis-server")
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    recipe = Recipe(tmp_path, stack, REDIS_URL=url, RESEND_AFTER="3")
    recipe.write("app.py", code_of("An outbox", "app.py"))
    recipe.write("queueing.py", code_of("An outbox", f"queueing.py, with {queue}"))
    recipe.start(redis, "--port", str(port), "--save", "", "--bind", "127.0.0.1")
    recipe.until(lambda: _listens(("127.0.0.1", port)), "redis")
    uploaded = [recipe.upload(CONTENT + bytes([number])) for number in range(2)]
    count = "db.session.query(Outbox).count(), db.session.query(Digest).count()"
    assert recipe.ask(count) == (2, 0)

    # The worker waits in the middle of a job, because its file is a pipe that nobody writes to.
    file = recipe.home / "instance" / "uploads" / uploaded[0]
    kept = file.rename(recipe.home / "kept")
    os.mkfifo(file)
    start = [str(SCRIPTS / command[0]), *(part.format(redis=url) for part in command[1:])]
    recipe.start(str(SCRIPTS / "flask"), "--app", "app", "relay")
    worker = recipe.start(*start)
    pipes: list[int] = []

    def is_reading() -> bool:
        try:
            pipes.append(os.open(file, os.O_WRONLY | os.O_NONBLOCK))  # refused until there is a reader
        except OSError:
            return False
        return True

    recipe.until(is_reading, "the job")
    recipe.kill(worker)
    os.close(pipes[0])
    shutil.move(kept, file)
    recipe.run(sys.executable, "-c", f"import redis; redis.Redis(port={port}).flushall()")  # what it knew is lost

    recipe.start(*start)
    recipe.await_(count, (0, 2))
    sums = {hashlib.sha256(CONTENT + bytes([number])).hexdigest() for number in range(2)}
    assert recipe.ask("{digest.sha256 for digest in db.session.scalars(select(Digest))}") == sums
    recipe.ask(f"[queueing.enqueue({uploaded[0]!r}) for _ in range(3)] and process({uploaded[0]!r})")
    assert recipe.ask(count) == (0, 2)


def test_one_transaction_covers_the_job(tmp_path: Path, stack: ExitStack) -> None:
    """The job exists if and only if the upload is complete; a job is done by the worker."""
    require_module("procrastinate", "pip install procrastinate")
    server = PostgreSQL()
    stack.callback(server.close)
    url = server.uri.replace("+psycopg", "")
    recipe = Recipe(tmp_path, stack, DATABASE_URL=url)
    recipe.write("app.py", code_of("One transaction", "app.py"))
    procrastinate = str(SCRIPTS / "procrastinate")
    recipe.ask("db.create_all()")
    recipe.run(procrastinate, "--app=app.jobs", "schema", "--apply")
    queued = "db.session.execute(db.text('SELECT count(*) FROM procrastinate_jobs')).scalar()"

    # A hook that fails after it has added the job.
    whole = (tmp_path / "app.py").read_text()
    last = ".defer(upload_id=upload.id)\n"
    failing = whole.replace(last, f"{last}        if os.environ.get('FAIL'):\n            os._exit(9)\n")
    assert failing != whole
    recipe.write("app.py", failing)
    recipe.write("upload.py", UPLOAD)
    recipe.env["FAIL"] = "1"
    died = subprocess.run([sys.executable, "upload.py"], cwd=tmp_path, env=recipe.env, input=CONTENT)
    assert died.returncode == 9
    del recipe.env["FAIL"]
    recipe.write("app.py", whole)
    assert recipe.ask(queued) == 0
    recipe.run(str(SCRIPTS / "flask"), "--app", "app", "tus", "complete_pending")
    assert recipe.ask(queued) == 1

    recipe.start(procrastinate, "--app=app.jobs", "worker")
    recipe.upload(CONTENT + b"!")
    sizes = "sorted(one.size for one in db.session.scalars(db.select(Size)))"
    recipe.await_(sizes, [len(CONTENT), len(CONTENT) + 1])


def test_clamd_scans(tmp_path: Path, stack: ExitStack) -> None:
    """Files cannot be downloaded until they were scanned, even if clamd and the scanner were away."""
    clamd = require_program("clamd", "apt-get install clamav-daemon")
    database = tmp_path / "signatures"
    database.mkdir()
    digest = hashlib.md5(EICAR, usedforsecurity=False).hexdigest()
    (database / "test.hdb").write_text(f"{digest}:{len(EICAR)}:Eicar-Test\n")
    where = str(tmp_path / "clamd.ctl")
    config = tmp_path / "clamd.conf"
    config.write_text(f"Foreground yes\nLocalSocket {where}\nDatabaseDirectory {database}\nStreamMaxLength 1M\n")
    recipe = Recipe(tmp_path, stack, CLAMD_SOCKET=where)
    recipe.write("app.py", code_of("A virus scan", "app.py"))
    states = "{u.length: (u.processing_state, u.processing_reason) for u in resumable.uploads()}"
    clean, infected = recipe.upload(CONTENT), recipe.upload(EICAR)
    get = "app.test_client().get('/files/{}').status_code"
    assert recipe.ask(get.format(clean)) == 425
    scanner = recipe.start(str(SCRIPTS / "flask"), "--app", "app", "scan")
    recipe.until(lambda: "could not be scanned" in (tmp_path / "log").read_text(), "a try without clamd")
    recipe.kill(scanner)
    recipe.start(clamd, "--config-file", str(config))
    recipe.until(lambda: _listens(where), "clamd")
    recipe.start(str(SCRIPTS / "flask"), "--app", "app", "scan")
    failed = ("failed", "The file contains Eicar-Test.UNOFFICIAL.")
    recipe.await_(states, {len(CONTENT): ("ready", None), len(EICAR): failed})
    assert recipe.ask(f"{get.format(clean)}, {get.format(infected)}") == (200, 410)


def test_thumbnails_are_made(tmp_path: Path, stack: ExitStack) -> None:
    """Of images; of anything else, the person who uploads is told why not. Nothing half done is left."""
    require_module("PIL", "pip install pillow")
    from PIL import Image

    recipe = Recipe(tmp_path, stack)
    section = PAGE.partition("\n## Thumbnails")[2]
    job = re.findall(r"^```python\n((?:from .*\n|\n)*def process.*?)^```$", section, re.M | re.S)[0]
    recipe.write("app.py", f"{code_of('An outbox', 'app.py')}\n{job}")
    recipe.write("queueing.py", "def enqueue(upload_id): ...\n")
    recipe.write("thumbnails.py", code_of("Thumbnails", "thumbnails.py"))
    image = io.BytesIO()
    Image.new("RGBA", (1000, 500), "red").save(image, "PNG")
    good, bad, cut = (recipe.upload(content) for content in (image.getvalue(), CONTENT, image.getvalue()[:500]))
    for upload_id in (good, bad, cut, good):
        recipe.ask(f"process({upload_id!r})")
    states = f"[resumable.get(one).processing_state for one in {(good, bad, cut)!r}]"
    assert recipe.ask(states) == ["ready", "failed", "failed"]
    thumbnails = recipe.home / "static" / "thumbnails"
    assert [file.name for file in thumbnails.iterdir()] == [f"{good}.jpg"]
    with Image.open(thumbnails / f"{good}.jpg") as thumbnail:
        assert thumbnail.size == (256, 128)


def test_others_see_the_progress_and_stop_it(tmp_path: Path, stack: ExitStack) -> None:
    """While content arrives; and the client may continue when the upload is not stopped any more."""
    require_module("redis", "pip install redis")
    server = require_program("redis-server", "apt-get install redis-server")
    port = free_port()
    recipe = Recipe(tmp_path, stack, REDIS_URL=f"redis://127.0.0.1:{port}/0")
    recipe.write("app.py", code_of("Progress for others", "app.py"))
    recipe.start(server, "--port", str(port), "--save", "", "--bind", "127.0.0.1")
    recipe.until(lambda: _listens(("127.0.0.1", port)), "redis")
    said = recipe.run(sys.executable, "-c", STOPPED).splitlines()
    offset, length = map(int, said[0].split("/"))
    assert 0 < offset < length == 3_000_000
    assert said[1:] == ["204 403", "404", "204 complete"]
