"""moto's S3 server, as a process of its own. What it holds is gone when it stops."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from contextlib import closing
from contextlib import suppress
from pathlib import Path

from tests.live.servers import DIE_WITH_PARENT
from tests.ports import free_port
from tests.prerequisites import require_script

PATIENCE = 60.0


class Moto:
    """Takes any key; ``min_part`` bytes is the least that all parts but the last must have.

    :param strict: Whether keys are checked, from the first request on.
    """

    access_key = "test"
    secret_key = "testtest"

    def __init__(self, home: Path, *, min_part: int = 5 * 1024 * 1024, strict: bool = False) -> None:
        self._program = require_script("moto_server", "pip install 'moto[s3,server]'")
        self.min_part = min_part
        self._log = home / "moto.log"
        self._strict = strict
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        environ = {**os.environ, "S3_UPLOAD_PART_MIN_SIZE": str(self.min_part)}
        if self._strict:
            environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"
        arguments = [self._program, "-H", "127.0.0.1", "-p", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", DIE_WITH_PARENT, sys.executable, *arguments],
                env=environ,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while not answers(self.port):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            self._process = None


def answers(port: int) -> bool:
    """Whether there is an HTTP server."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
    return True
