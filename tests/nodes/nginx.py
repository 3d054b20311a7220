"""nginx from Debian's package, with the demo's own configuration, in front of servers on this machine."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.ports import free_port
from tests.prerequisites import require_program

CONFIGURATION = Path(__file__).parents[2] / "demo" / "nginx.conf"
PATIENCE = 60.0  # seconds


def require_nginx() -> str:
    """The path of nginx."""
    return require_program("nginx", "apt-get install nginx")


def without_resolving(text: str) -> str:
    """A configuration for Compose, as it is without Docker's name server and in nginx before 1.27.3."""
    text = re.sub(r"^ +(resolver|zone) .*\n\n?", "", text, flags=re.MULTILINE)
    plain = "server app:8000;                       # one line for each node"
    return re.sub(r"server app:8000 resolve;.*", plain, text)


class Nginx:
    """A proxy that knows no stickiness: each request may go to any of the ports."""

    def __init__(
        self, folder: Path, ports: Sequence[int], configuration: str | None = None, *, gives_up: bool = False
    ) -> None:
        """Start it.

        :param gives_up: Leave a node alone for ten seconds after it could not be reached, as nginx does by default.
        """
        program = require_nginx()
        self._options = "" if gives_up else " max_fails=0"
        self.port = free_port()
        folder.mkdir()
        (folder / "nginx.conf").write_text(self._configured(folder, ports, configuration))
        command = [program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _configured(self, folder: Path, ports: Sequence[int], configuration: str | None) -> str:
        """The demo's configuration, or another one, but for names and places."""
        text = without_resolving(configuration or CONFIGURATION.read_text())
        servers = " ".join(f"server 127.0.0.1:{port}{self._options};" for port in ports)
        for pattern, replacement in (
            (r"server app:8000;", servers),
            (r"listen 8080", f"listen 127.0.0.1:{self.port}"),
            (r"/tmp/nginx", f"{folder}/nginx"),
            (r"worker_processes auto;", "worker_processes 1;"),
        ):
            text, count = re.subn(pattern, replacement, text)
            assert count, pattern
        return text

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(PATIENCE)
