"""What is taken away is gone in every process that may run the package. Run by ``make test-without-linux``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_resumable import processes
from flask_resumable.storage.local import files
from flask_resumable.storage.local.locks import chunk_lock
from flask_resumable.storage.local.locks import LockFile
from flask_resumable.wsgi import pipes
from tests.live.conftest import require_server
from tests.live.servers import ALL
from tests.live.servers import OTHERS
from tests.live.servers import Server

HERE = str(Path(__file__).parent)
taken: dict[object, tuple[str, ...]] | None = getattr(sys.modules.get("sitecustomize"), "NAMES", None)

pytestmark = [pytest.mark.skipif(taken is None, reason="Linux's names are here."), pytest.mark.live]


@pytest.fixture(params=[*ALL, *OTHERS])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Each server. The app itself refuses to start if something has come back."""
    require_server(request.param)
    server = Server(request.param, tmp_path)
    server.start()
    yield server
    server.stop()


def test_nothing_is_left_of_linux() -> None:
    """Neither in Python's modules, nor in the C library, nor what the package has made of them."""
    assert taken is not None
    assert not [name for module, names in taken.items() for name in names if hasattr(module, name)]
    assert chunk_lock is LockFile
    assert not pipes.CAN_SPLICE and files._write_out is None
    assert processes._linux_boot() is None and processes._sysctl_boot() is not None


def test_processes_that_are_started_have_lost_it_too(tmp_path: Path) -> None:
    """Whatever environment they are given."""
    script = "import os; print(hasattr(os, 'splice'))"
    for env in (None, {}, {"PYTHONPATH": str(tmp_path)}, {**os.environ, "PYTHONPATH": str(tmp_path)}):
        ended = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
        assert ended.stdout == "False\n", ended.stderr


def test_so_have_servers(server: Server) -> None:
    """And the processes that they start. An upload arrives."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    for pid in (server.pid, *children):
        environ = Path(f"/proc/{pid}/environ").read_text().strip("\0")
        assert not environ or f"PYTHONPATH={HERE}" in environ  # setproctitle, if it is installed, clears what is shown
    path = server.tus.create(5)
    assert server.tus.patch(path, 0, b"01234").offset == 5
    assert server.finished(path).read_bytes() == b"01234"
