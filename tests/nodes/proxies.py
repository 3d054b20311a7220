"""Caddy and HAProxy with the configurations of docs/proxies.md, in front of servers on this machine."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.live.servers import DIE_WITH_PARENT
from tests.ports import free_port
from tests.prerequisites import require_program
from tests.prerequisites import ROOT

PAGE = (ROOT / "docs" / "proxies.md").read_text()
PATIENCE = 60.0  # seconds
COMMANDS = {
    "caddy": ("apt-get install caddy", "run --config Caddyfile --adapter caddyfile"),
    "haproxy": ("apt-get install haproxy", "-db -f haproxy.cfg"),
}
FILES = {"caddy": "Caddyfile", "haproxy": "haproxy.cfg"}


def configuration(name: str) -> str:
    """The block of the page that begins with the name of this file."""
    (text,) = re.findall(rf"^```\w+\n# {re.escape(name)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def require_proxy(kind: str) -> str:
    """The path of the program."""
    return require_program(kind, COMMANDS[kind][0])


class Proxy:
    """It knows no stickiness: each request may go to any of the ports, which are two."""

    def __init__(self, kind: str, folder: Path, ports: Sequence[int]) -> None:
        program = require_proxy(kind)
        self.port = free_port()
        folder.mkdir()
        (folder / FILES[kind]).write_text(self._configured(configuration(FILES[kind]), ports))
        self.log = folder / "log"
        environ = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", DIE_WITH_PARENT, program, *COMMANDS[kind][1].split()],
                cwd=folder,
                env=environ,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _configured(self, text: str, ports: Sequence[int]) -> str:
        for number, port in enumerate(ports, 1):
            assert f"10.0.0.{number}:8000" in text
            text = text.replace(f"10.0.0.{number}:8000", f"127.0.0.1:{port}")
        return text.replace(":8080 {", f"{{\n\tadmin off\n}}\n:{self.port} {{\n\tbind 127.0.0.1").replace(
            "bind :8080", f"bind 127.0.0.1:{self.port}"
        )

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        """Stop it."""
        self._process.kill()  # otherwise they wait for connections that clients keep open
        self._process.wait(PATIENCE)
