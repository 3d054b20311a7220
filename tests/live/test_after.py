"""``on_progress`` and the app's answer, with real servers and clients."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.prerequisites import require_npm_packages
from tests.prerequisites import require_program
from tests.prerequisites import ROOT

from .conftest import require_server
from .journal import PATIENCE
from .servers import Server

pytestmark = pytest.mark.live

MIB = 1024 * 1024
SCRIPT = Path(__file__).with_name("last_response.mjs")


class AfterServer(Server):
    """Serves ``after_app``."""

    app = "live.after_app:create_app"

    def noted(self, path: str) -> list[tuple[int, int | None, float]]:
        """What ``on_progress`` was told about an upload: offset, length and time."""
        notes = self.home / "progress"
        lines = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
        return [(offset, length, at) for upload_id, offset, length, at in lines if path.endswith(upload_id)]


@contextmanager
def _serving(kind: str, home: Path) -> Iterator[AfterServer]:
    require_server(kind)
    server = AfterServer(kind, home)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("kind", ["gthread", "gevent", "sync"])
def test_progress_is_reported_once_a_second(kind: str, tmp_path: Path) -> None:
    """Of content that trickles in, and of content that never enters Python; and a refusal keeps what has arrived."""
    with _serving(kind, tmp_path) as server:
        size = 96 * MIB
        fast = server.tus.create(size)
        with server.tus.connect() as connection:
            connection.start_patch(fast, 0, {"Content-Length": size})
            for _ in range(size // MIB):
                connection.send(bytes(MIB))
            assert connection.answer("PATCH").offset == size
        slow = server.tus.create(MIB)
        with server.tus.connect() as connection:
            connection.start_patch(slow, 0, {"Content-Length": 12 * 16 * 1024})
            for _ in range(12):
                connection.send(bytes(16 * 1024))
                time.sleep(0.25)
            assert connection.answer("PATCH").offset == 12 * 16 * 1024
        for path, length in ((fast, size), (slow, MIB)):
            noted = server.noted(path)
            assert noted and {told for _, told, _ in noted} == {length}
            offsets, times = [offset for offset, _, _ in noted], [at for _, _, at in noted]
            assert offsets == sorted(set(offsets)) and 0 < offsets[0] and offsets[-1] < length
            assert all(later - earlier >= 0.99 for earlier, later in zip(times, times[1:], strict=False))
        assert len(server.noted(slow)) >= 2

        (tmp_path / "stop").touch()
        stopped = server.tus.create(size)
        with server.tus.connect() as connection:
            connection.start_patch(stopped, 0, {"Content-Length": size}, body=bytes(MIB))
            assert connection.answer("PATCH").status == 403
        (tmp_path / "stop").unlink()
        offset = server.tus.offset(stopped)
        assert 0 < offset <= MIB
        assert server.tus.patch(stopped, offset, bytes(MIB)).offset == offset + MIB


@pytest.mark.parametrize("loses", [False, True], ids=["arrives", "is lost"])
def test_tus_js_client_gets_the_answer(loses: bool, tmp_path: Path) -> None:
    """With the last response, or when it asks again because that was lost; the headers are there in any case."""
    library = require_npm_packages(ROOT / "demo") / "tus-js-client"
    node = require_program("node", "apt-get install nodejs")
    file = tmp_path / "a.png"
    file.write_bytes(b"0123456789" * 1000)
    with _serving("gthread", tmp_path) as server:
        command = [node, str(SCRIPT), str(library), str(file), str(server.port), str(int(loses))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        outcome: dict[str, Any] = json.loads(done.stdout)
    upload_id = outcome["path"].rpartition("/")[2]
    body = {"url": f"/photos/{upload_id}", "name": "a.png"}
    assert outcome == {"asked": loses, "body": body, "photo": upload_id, "path": outcome["path"]}
