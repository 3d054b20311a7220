"""A real Prometheus, from Debian's package, with the documented rules."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import closing
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.ports import free_port
from tests.prerequisites import require_program
from tests.prerequisites import ROOT

PAGE = (ROOT / "docs" / "monitoring.md").read_text()
RULES = re.findall(r"```yaml\n(groups:\n.*?)```", PAGE, re.DOTALL)
PATIENCE = 120  # seconds


def eventually(is_true: Callable[[], object]) -> None:
    """Wait until it is."""
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@dataclass
class Prometheus:
    """A server that reads the site's metrics."""

    port: int

    def get(self, path: str, **query: str) -> Any:
        """What its API says."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request("GET", f"/api/v1/{path}?{urlencode(query)}")
            with connection.getresponse() as response:
                answer = json.loads(response.read())
        assert answer["status"] == "success", answer
        return answer["data"]

    def result(self, expression: str) -> list[Any]:
        """What an expression is now."""
        found: list[Any] = self.get("query", query=expression)["result"]
        return found

    @property
    def rules(self) -> list[Any]:
        """All alerts and recording rules, with their states."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    @property
    def firing(self) -> list[str]:
        """The alerts that somebody is woken up for."""
        return [rule["name"] for rule in self.rules if rule.get("state") == "firing"]


@contextmanager
def prometheus_of(folder: Path, ports: Sequence[int], *, interval: str = "3s") -> Iterator[Prometheus]:
    """Start one that reads the metrics of apps, and wait until it has read those of all."""
    program = require_program("prometheus", "apt-get install prometheus")
    names = []
    for number, rules in enumerate(RULES):
        names.append(f"rules{number}.yml")
        (folder / names[-1]).write_text(rules)
    targets = [f"127.0.0.1:{port}" for port in ports]
    config = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": names,
        "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    options = [f"--web.listen-address=127.0.0.1:{port}", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]
    with (folder / "prometheus.log").open("w") as log:
        server = subprocess.Popen([program, *options], cwd=folder, stdout=log, stderr=log)
        try:
            made = Prometheus(port)

            def is_up() -> bool:
                with suppress(OSError, ValueError):
                    return len(made.result("up == 1")) == len(targets)
                return False

            eventually(is_up)
            yield made
        finally:
            server.terminate()
            server.wait(PATIENCE)
