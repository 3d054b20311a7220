"""The gallery with gunicorn, a worker of RQ, and the page's own script in node."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from contextlib import ExitStack
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.live.servers import DIE_WITH_PARENT
from tests.ports import free_port
from tests.prerequisites import require_npm_packages
from tests.prerequisites import require_program
from tests.prerequisites import require_script
from tests.prerequisites import ROOT
from tests.s3.moto import answers

pytestmark = pytest.mark.live

HERE = Path(__file__).parent
PATIENCE = 60.0  # seconds


class Site:
    """The gallery, as it runs in production."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        self.home = home
        self.port = free_port()
        self.env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.env.update({f"GALLERY_{name}": value for name, value in settings.items()})
        self._stack = ExitStack()
        self._cookie = ""

    def start(self) -> None:
        gunicorn = require_script("gunicorn", "pip install gunicorn")
        rq = require_script("rq", "pip install rq")
        app = "tests.apps.gallery.app:create_app()"
        self._run(gunicorn, "-k", "gthread", "--threads", "8", "-b", f"127.0.0.1:{self.port}", app)
        self._run(rq, "worker", "--worker-class", "rq.SimpleWorker", "--url", self.env["GALLERY_REDIS_URL"])
        deadline = time.monotonic() + PATIENCE
        while not answers(self.port):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)
        form = {"name": "museum", "password": "amber"}
        self._cookie = self.post("/login", **form).headers["Set-Cookie"].partition(";")[0]

    def stop(self) -> None:
        self._stack.close()

    def log(self) -> str:
        return (self.home / "log").read_text()

    def _run(self, *command: str) -> None:
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", DIE_WITH_PARENT, sys.executable, *command],
                env=self.env,
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._stack.callback(end, process)

    def post(self, path: str, **form: str) -> Any:
        """A request of the partner."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": self._cookie}
            connection.request("POST", path, urllib.parse.urlencode(form), headers)
            answer = connection.getresponse()
            self.content = answer.read()
            assert answer.status < 300, self.content
            return answer

    def token(self, guest: str) -> str:
        self.post("/invitations", guest=guest)
        return str(json.loads(self.content)["token"])

    def send(self, path: Path, kind: str, token: str) -> dict[str, Any]:
        """What the page does with a file: the state of the upload."""
        node = require_program("node", "apt-get install nodejs")
        flow = require_npm_packages(ROOT / "demo") / "@flowjs" / "flow.js" / "dist" / "flow.js"
        files = [str(HERE / "send.mjs"), f"http://127.0.0.1:{self.port}", str(flow), str(HERE / "static/gallery.js")]
        done = subprocess.run([node, *files, str(path), kind, token], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr + self.log()
        status: dict[str, Any] = json.loads(done.stdout)
        return status


def end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]) -> Iterator[Site]:
    """The gallery, started."""
    site = Site(tmp_path_factory.mktemp("site"), settings)
    try:
        site.start()
        yield site
    finally:
        site.stop()


def test_a_guest_sends_a_picture(site: Site, tmp_path: Path) -> None:
    """The page shows that it is ready, and its link leads to the store."""
    path = tmp_path / "noise.png"
    pixels = random.Random(2).randbytes(3 * 400 * 400)
    Image.frombytes("RGB", (400, 400), pixels).save(path)
    token = site.token("ada")
    status = site.send(path, "image/png", token)
    assert status.get("processing") == {"state": "ready", "reason": None}, status
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/files/{status['id']}?upload_token={token}") as answer:
        assert answer.read() == path.read_bytes()
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"] == 'inline; filename="noise.png"'
    path.write_bytes(b"another picture")
    assert "has been used" in site.send(path, "image/png", token)["error"]


def test_a_file_that_the_worker_rejects(site: Site, tmp_path: Path) -> None:
    """The page gets the reason."""
    path = tmp_path / "sun.png"
    path.write_bytes(b"no picture")
    assert site.send(path, "image/png", site.token("bob"))["processing"]["state"] == "failed"


def test_a_banned_guest(site: Site, tmp_path: Path) -> None:
    """The page gives up at once and says why."""
    path = tmp_path / "years.csv"
    path.write_bytes(b"1901\n" * 100_000)
    token = site.token("eve")
    site.post("/banned/eve")
    assert site.send(path, "text/csv", token) == {"error": "You are banned."}
