"""The examples in ``docs/signed-uploads.md`` work as they stand, with the real clients."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from tests.prerequisites import require_npm_packages
from tests.prerequisites import require_program
from tests.prerequisites import ROOT

PAGE = (ROOT / "docs" / "signed-uploads.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)
(APP,) = (code for language, code in BLOCKS if language == "python")
JS = {code.splitlines()[0].removeprefix("// "): code for language, code in BLOCKS if language == "js"}
CONSOLE = [code.removeprefix("$ ") for language, code in BLOCKS if language == "console"]
CURL = [code for code in CONSOLE if "--fail" in code]
(GET_TOKEN,) = set(CONSOLE) - set(CURL)


@dataclass
class Running:
    """The app of the page, served."""

    app: Flask
    origin: str

    def token(self) -> str:
        """A token, as a logged-in user gets it."""
        answer = self.app.test_client().post("/cases/7/token", headers={"X-User": "alice"})
        return str(answer.get_json()["token"])


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """The app, in a thread of this process."""
    made = Flask.__init__

    def make(self: Flask, name: str, **options: Any) -> None:
        made(self, name, instance_path=str(tmp_path / "instance"), **options)

    monkeypatch.setattr(Flask, "__init__", make)
    names: dict[str, Any] = {"__name__": "app"}
    exec(APP, names)
    app: Flask = names["app"]
    app.logger.setLevel(logging.INFO)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Running(app, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()
    app.extensions["resumable"].repository.dispose()


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    """The file to upload."""
    file = tmp_path / "letter.txt"
    file.write_bytes(b"Dear reader" * 1000)
    return file


@pytest.mark.live
@pytest.mark.parametrize("client", JS)
def test_javascript(running: Running, letter: Path, caplog: pytest.LogCaptureFixture, client: str) -> None:
    """Each client uploads once. The next file with the same token fails, and the page can say why."""
    node = require_program("node", "apt-get install nodejs")
    modules = require_npm_packages(ROOT / "demo")
    flow = modules / "@flowjs" / "flow.js" / "dist" / "flow.js"
    token = running.token()

    def upload() -> str:
        command = [node, str(ROOT / "tests" / "signed_client.mjs"), running.origin, str(modules), str(flow)]
        ended = subprocess.run([*command, str(letter), token, JS[client]], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    with caplog.at_level(logging.INFO, logger="app"):
        assert upload() == "done"
    assert "alice got 'letter.txt' for case 7" in caplog.text
    letter.write_bytes(b"Another letter")
    assert upload().startswith("failed: This upload token has been used already")


@pytest.mark.live
@pytest.mark.parametrize("command", CURL, ids=["header", "query"])
def test_curl(running: Running, letter: Path, command: str) -> None:
    """curl uploads the file, and without a token it is refused."""
    require_program("curl", "apt-get install curl")
    get_token, shown = (code.replace("http://127.0.0.1:8000", running.origin) for code in (GET_TOKEN, command))
    said = subprocess.run(["sh", "-c", f'{get_token}printf %s "$TOKEN"'], capture_output=True, text=True, check=True)
    for token, code in ((said.stdout, 0), ("", 22)):
        ended = subprocess.run(
            ["sh", "-c", shown], cwd=letter.parent, env={**os.environ, "TOKEN": token}, capture_output=True
        )
        assert ended.returncode == code, ended.stdout
    [upload] = running.app.extensions["resumable"].repository.list(limit=5)
    assert (upload.owner, upload.status.value, upload.length) == ("alice", "complete", 11_000)
