"""tus-js-client over a link that dies again and again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.flaky.client import name_of
from bench.flaky.relay import Link
from bench.flaky.servers import Site
from bench.measure import NotAvailable
from bench.programs import PEERS

DELAYS = ("zeros", "defaults")
RATE = 8_000_000  # bytes a second
PERIOD = 0.7  # seconds that the link lives
_PATIENCE = 12.0  # seconds that an upload may take, and six times as long as the line needs


@dataclass
class Crossing:
    """One upload over the link."""

    delays: str
    size: int
    sent: int = 0  # bytes that reached the server's machine
    cuts: int = 0
    heads: int = 0
    seconds: float = 0
    trouble: str | None = None

    @property
    def times(self) -> float:
        """How often each byte was sent."""
        return self.sent / self.size


def need_client() -> None:
    """Install tus-js-client, if it is not there.

    :raises NotAvailable: It cannot be installed.
    """
    if (PEERS / "node_modules" / "tus-js-client").is_dir():
        return
    if not shutil.which("node") or not shutil.which("npm"):
        raise NotAvailable("tus-js-client needs node and npm")
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]
    done = subprocess.run(install, cwd=PEERS, capture_output=True, text=True)
    if done.returncode:
        raise NotAvailable(f"npm cannot install tus-js-client: {done.stderr.strip()[:200]}")


def cross(site: Site, file: Path) -> list[Crossing]:
    """Two uploads side by side, each over a link of its own."""
    with ThreadPoolExecutor(len(DELAYS)) as pool:
        return [*pool.map(lambda delays: _cross(site, file, delays), DELAYS)]


def _cross(site: Site, file: Path, delays: str) -> Crossing:
    crossing = Crossing(delays, file.stat().st_size)
    patience = _PATIENCE + 6 * crossing.size / RATE
    scheme = "https" if site.tls else "http"
    trust = {"NODE_EXTRA_CA_CERTS": str(site.certificate)} if site.certificate else {}
    with Link(site.port, rate=RATE, period=PERIOD, seed=DELAYS.index(delays), opaque=site.tls is not None) as link:
        command = ["node", str(PEERS / "upload.mjs"), f"{scheme}://127.0.0.1:{link.port}{site.url}", str(file), delays]
        try:
            done = subprocess.run(
                command, env={**os.environ, **trust}, capture_output=True, text=True, timeout=patience
            )
            said = json.loads(done.stdout or json.dumps({"error": done.stderr[-300:] or "no word from node"}))
        except subprocess.TimeoutExpired:
            said = {"error": f"no end within {patience:.0f} s"}
    crossing.sent, crossing.cuts = link.passed, link.cuts
    crossing.heads, crossing.seconds = said.get("retries", 0), said.get("seconds", patience)
    crossing.trouble = said["error"]
    if crossing.trouble is None and site.content(name_of(urlsplit(said["url"]).path)) != file.read_bytes():
        crossing.trouble = "the stored file is not what was sent"
    return crossing
