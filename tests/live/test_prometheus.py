"""Metrics of several processes, and a real Prometheus that reads them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

from .prometheus import eventually
from .prometheus import PAGE
from .prometheus import PATIENCE
from .prometheus import Prometheus
from .prometheus import prometheus_of
from .prometheus import RULES

DOCS = Path(__file__).parents[2] / "docs"
IDLE = ("object_store", "takeovers", "rescued", "storage_errors")  # what does not happen here
TUS = {"Tus-Resumable": "1.0.0"}
APP = """
import os

from flask import Flask
from flask_resumable import FlaskResumable, UploadRejected


class Uploads(FlaskResumable):
    def on_complete(self, upload):
        if upload.length == 13:
            raise UploadRejected(422, "no")


app = Flask(__name__, instance_path=os.environ["INSTANCE"])
app.config["RESUMABLE_METRICS_URL"] = "/metrics"
Uploads(app)
app.add_url_rule("/pid", "pid", lambda: str(os.getpid()))
"""

pytestmark = pytest.mark.live


@dataclass
class Site:
    """gunicorn with two workers."""

    folder: Path
    port: int
    environ: dict[str, str]

    def request(self, method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, str]:
        """A request on a connection of its own."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(method, url, body, {**TUS, **named, "Connection": "close"})
            with connection.getresponse() as response:
                return response.status, response.headers, response.read().decode()

    def upload(self, content: bytes) -> int:
        """A whole upload in one request."""
        kind = "application/offset+octet-stream"
        return self.request("POST", "/files/", content, Upload_Length=str(len(content)), Content_Type=kind)[0]

    def value(self, name: str) -> float:
        """The sum of a metric over its labels."""
        page = self.request("GET", "/metrics")[2]
        found = re.findall(rf"^resumable_{name}(?:\{{.*\}})? (\S+)$", page, re.M)
        return sum(map(float, found))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Set up as docs/monitoring.md says."""
    (config,) = re.findall(r"```python\n# gunicorn.conf.py\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "gunicorn.conf.py").write_text(config)
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "counters").mkdir()
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(DOCS.parent), str(tmp_path)]),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "counters"),
        "INSTANCE": str(tmp_path / "instance"),
        "FLASK_APP": "app",
    }
    port = free_port()
    options = ["-w", "2", "-k", "gthread", "--threads", "4", "-b", f"127.0.0.1:{port}"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, "app:app"], cwd=tmp_path, env=environ, stdout=log, stderr=log
        )
        try:
            made = Site(tmp_path, port, environ)

            def is_up() -> bool:
                with suppress(OSError):
                    return made.request("GET", "/pid")[0] == 200
                return False

            eventually(is_up)
            yield made
        finally:
            server.terminate()
            server.wait(PATIENCE)


def test_two_workers_count_together(site: Site) -> None:
    """The page has the sums of both. What a killed worker has counted stays, but it receives nothing any more."""
    pids: set[str] = set()
    sent = 0

    def is_seen_by_both() -> bool:
        nonlocal sent
        assert site.upload(b"abc") == 201
        sent += 1
        pids.add(site.request("GET", "/pid")[2])
        return len(pids) == 2 and sent > 20

    eventually(is_seen_by_both)
    assert site.value("uploads_completed_total") == sent
    assert site.value("received_bytes_total") == 3 * sent

    location = site.request("POST", "/files/", Upload_Length="1000000")[1]["Location"]
    with socket.create_connection(("127.0.0.1", site.port)) as slow:
        head = f"PATCH /files/{location.rpartition('/')[2]} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\n"
        head += "Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: 1000000\r\n\r\n"
        slow.sendall(head.encode() + b"x" * 100_000)
        # A long body counts while it comes.
        eventually(lambda: site.value("received_bytes_total") == 3 * sent + 100_000)
        assert site.value("uploads_receiving") == 1
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)
        eventually(lambda: not pids & {site.request("GET", "/pid")[2] for _ in range(4)})
    eventually(lambda: site.value("uploads_receiving") == 0)
    assert site.value("uploads_completed_total") == sent
    assert site.value("received_bytes_total") == 3 * sent + 100_000


def test_the_command_counts_as_well(site: Site) -> None:
    """``delete_expired`` is another process with the same folder."""
    site.upload(b"abc")
    assert site.value("cleanup_last_run_timestamp_seconds") == 0
    command = [sys.executable, "-m", "flask", "tus", "delete_expired"]
    subprocess.run(command, cwd=site.folder, env=site.environ, check=True, capture_output=True)
    assert site.value("cleanup_last_run_timestamp_seconds") > 1.7e9


@pytest.fixture
def prometheus(site: Site, tmp_path: Path) -> Iterator[Prometheus]:
    """Debian's, with the rules of the page."""
    with prometheus_of(tmp_path, [site.port]) as made:
        yield made


def _queries() -> list[str]:
    board = json.loads((DOCS / "grafana.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def test_prometheus_reads_what_the_dashboard_shows(site: Site, prometheus: Prometheus) -> None:
    """Every query of the dashboard is valid, and has a value once there is something to show."""
    assert site.upload(b"abc") == 201
    command = [sys.executable, "-m", "flask", "tus", "delete_expired"]
    subprocess.run(command, cwd=site.folder, env=site.environ, check=True, capture_output=True)

    def work() -> None:
        assert site.upload(b"abc") == 201
        assert site.upload(b"x" * 13) == 422

    work()
    eventually(lambda: prometheus.result('resumable_errors_total{error="UploadRejected"}'))
    waiting = {query.replace("$__rate_interval", "1m") for query in _queries()}
    idle = {query for query in waiting if any(name in query for name in IDLE)}
    for query in idle:
        prometheus.result(query)  # valid, but there is nothing to show

    def all_have_values() -> bool:
        work()
        waiting.difference_update({query for query in waiting if query in idle or prometheus.result(query)})
        return not waiting

    eventually(all_have_values)


def test_the_rules_work(site: Site, prometheus: Prometheus) -> None:
    """The alerts are valid and quiet, and dashboards for tusd find its names."""
    assert site.upload(b"abc") == 201
    assert len(prometheus.rules) == sum(text.count("- alert:") + text.count("- record:") for text in RULES)
    eventually(lambda: prometheus.result("tusd_uploads_finished"))
    for name in ("requests_total", "bytes_received", "uploads_created", "uploads_finished", "hook_invocations_total"):
        eventually(lambda name=name: prometheus.result(f"tusd_{name}"))  # type: ignore[misc]
    assert {rule["health"] for rule in prometheus.rules} == {"ok"}
    assert not prometheus.firing
