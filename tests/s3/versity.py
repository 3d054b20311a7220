"""The Versity gateway: S3 on a folder of the disk."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.live.servers import DIE_WITH_PARENT
from tests.ports import free_port
from tests.prerequisites import require_program

from .moto import answers
from .moto import PATIENCE


class Versity:
    """One gateway with a folder of its own."""

    access_key = "test"
    secret_key = "testtest"
    min_part = 5 * 1024 * 1024

    def __init__(self, home: Path) -> None:
        self._program = require_program("versitygw", "make bench-peers, and put bench/peers/bin into the PATH")
        self._home = home
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        (self._home / "data").mkdir(exist_ok=True)
        keys = ["--access", self.access_key, "--secret", self.secret_key]
        command = [self._program, *keys, "--port", f"127.0.0.1:{self.port}", "posix", str(self._home / "data")]
        with (self._home / "versitygw.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", DIE_WITH_PARENT, *command], stdout=log, stderr=log, cwd=self._home
            )
        deadline = time.monotonic() + PATIENCE
        while not answers(self.port):
            assert self._process.poll() is None, (self._home / "versitygw.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            self._process = None
