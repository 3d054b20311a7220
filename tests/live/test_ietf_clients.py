"""Clients that people use, in their modes of the IETF draft, on real servers."""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.prerequisites import require_npm_packages
from tests.prerequisites import require_program
from tests.prerequisites import ROOT

from .conftest import Serve
from .journal import PATIENCE
from .servers import Server

pytestmark = pytest.mark.live

SCRIPT = Path(__file__).with_name("ietf_upload.mjs")
CONTENT = random.Random(5).randbytes(1_000_000)
PROTOCOLS = ("ietf-draft-03", "ietf-draft-05")
MODES: dict[str, dict[str, Any]] = {
    "one request": {},
    "several requests": {"chunkSize": 300_000},
    "deferred length": {"uploadLengthDeferred": True, "chunkSize": 300_000},
}


@pytest.fixture(scope="session")
def library() -> Path:
    """tus-js-client, as the demo has it."""
    return require_npm_packages(ROOT / "demo") / "tus-js-client"


def run_client(
    server: Server, library: Path, protocol: str, content: bytes = CONTENT, *, cut: int = 0, **options: Any
) -> dict[str, Any]:
    """Let tus-js-client upload the content, over a network that breaks after ``cut`` bytes."""
    file = server.home / "rows.bin"
    file.write_bytes(content)
    given = json.dumps({"metadata": {"filename": file.name}, "protocol": protocol, **options})
    node = require_program("node", "apt-get install nodejs")
    command = [node, str(SCRIPT), str(library), str(file), str(server.port), str(cut), given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def is_there(server: Server, path: str, content: bytes = CONTENT) -> None:
    """The file is whole, and the hook was called for it once."""
    assert server.finished(path).read_bytes() == content
    assert server.receipts(path) == [hashlib.sha256(content).hexdigest()]


@pytest.mark.parametrize("cut", [0, 500_000], ids=["whole", "cut"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["gthread", "werkzeug"])
def test_tus_js_client_arrives(shared: Serve, library: Path, kind: str, protocol: str, mode: str, cut: int) -> None:
    """However it sends; after a break it asks for the offset and goes on there."""
    if cut and mode != "one request":
        cut //= 2  # in the middle of the first request with content
    server = shared(kind, INTERIM_RESPONSES="on")
    outcome = run_client(server, library, protocol, cut=cut, **MODES[mode])
    assert outcome["cuts"] == bool(cut), outcome
    is_there(server, outcome["path"])
    assert outcome["requests"].count("POST") == 1
    assert ("HEAD" in outcome["requests"]) is bool(cut)


@pytest.mark.parametrize("content", [b"", b"abc", CONTENT], ids=["empty", "small", "large"])
@pytest.mark.parametrize("during_creation", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tus_js_client_with_files_of_any_size(
    shared: Serve, library: Path, protocol: str, during_creation: bool, content: bytes
) -> None:
    """With the creation or after it; an empty one has no other request."""
    server = shared("gthread")
    outcome = run_client(server, library, protocol, content, uploadDataDuringCreation=during_creation)
    is_there(server, outcome["path"], content)
    assert outcome["requests"] == (["POST"] if during_creation or not content else ["POST", "PATCH"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tus_js_client_cancels(shared: Serve, library: Path, protocol: str) -> None:
    """What it terminates is gone."""
    server = shared("gthread")
    outcome = run_client(server, library, protocol, terminate=True)
    assert outcome["requests"][-1] == "DELETE"
    assert server.tus.head(outcome["path"]).status == 404


def test_the_guides_commands_for_curl_work(shared: Serve) -> None:
    """Each of them, against a server of its own port and with the URL that it tells."""
    curl = require_program("curl", "apt-get install curl")
    server = shared("gthread")
    (server.home / "movie.mp4").write_bytes(CONTENT)
    guide = (ROOT / "docs" / "ietf.md").read_text()
    commands = re.findall(r"^\$ curl ((?:.*\\\n)*.*)$", guide, re.MULTILINE)
    assert len(commands) == 5
    placeholder = "6d1c3c2b7d3f4f6e8a9b0c1d2e3f4a5b"
    paths: list[str] = []
    for command in commands:
        line = command.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{server.port}")
        run = f"{curl} -sS {line.replace(placeholder, paths[-1] if paths else '')}"
        done = subprocess.run(["sh", "-c", run], cwd=server.home, capture_output=True, text=True, timeout=PATIENCE)
        assert re.match(r"HTTP/1.1 (100 Continue\s+HTTP/1.1 )?20[014] ", done.stdout), (done.stdout, done.stderr)
        paths += re.findall(r"^Location: (\w+)", done.stdout, re.MULTILINE)
    is_there(server, paths[0])
    is_there(server, paths[1], b"hello world")
