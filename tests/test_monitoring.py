"""docs/monitoring.md: its examples run, and its tables are complete."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client import Counter
from prometheus_client import Gauge
from prometheus_client import Histogram

from flask_resumable.metrics.instruments import instruments_in

PAGE = Path(__file__).parents[1] / "docs" / "monitoring.md"
ROOT = PAGE.parents[1]


def _block(start: str) -> str:
    """The example that contains a text."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return next(block for block in blocks if start in block)


def _run(code: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run an example in a process of its own, because it changes the logging of the process."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    path = tmp_path / "app.py"
    path.write_text(code)
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


APP = """
from flask import Flask
from flask_resumable import FlaskResumable

app = Flask(__name__)
FlaskResumable(app)
"""
UPLOAD = """
headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "2", "Content-Type": "application/offset+octet-stream"}
assert app.test_client().post("/files/", headers=headers, data=b"ab").status_code == 201
"""


def _table(heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading, by their first cells."""
    section = PAGE.read_text().split(f"\n{heading}\n")[1]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_table_has_every_metric() -> None:
    """With its type and its labels, and no other."""
    registry = CollectorRegistry()
    instruments_in(registry)
    there = {
        metric.name + ("_total" if metric.type == "counter" else ""): (metric.type, set(collector._labelnames))
        for collector in registry._collector_to_names
        for metric in collector.collect()
        if isinstance(collector, Counter | Gauge | Histogram)
    }
    told = {
        name: (row[0], set(re.findall(r"`(\w+)`", row[1])))
        for name, row in _table("## Metrics").items()
        if name.startswith("resumable_")
    }
    assert told == there


def test_the_dashboard_names_metrics_that_exist() -> None:
    """Each metric in the dashboard and in the rules of the page is one of the table."""
    known = set(_table("## Metrics"))
    known |= {name + ending for name in known for ending in ("_bucket", "_count", "_sum")}
    board = json.loads((ROOT / "docs" / "grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    rules = re.findall(r"expr: (.*)", PAGE.read_text())
    named = {name for text in (*queries, *rules) for name in re.findall(r"\bresumable_\w+", text)}
    assert named and named <= known
    shown = {
        re.sub("_(bucket|count|sum)$", "", name) for text in queries for name in re.findall(r"resumable_\w+", text)
    }
    assert shown == {name for name in _table("## Metrics") if name.startswith("resumable_")}


def test_the_page_for_prometheus_is_there(tmp_path: Path) -> None:
    """The shortest set-up serves it, and the one behind a token serves it to those who have the token."""
    get = "\nprint(app.test_client().get({!r}, headers={!r}).text)"
    shown = _run(_block("RESUMABLE_METRICS_URL") + UPLOAD + get.format("/metrics", {}), tmp_path).stdout
    assert "resumable_uploads_completed_total{" in shown
    guarded = _block('"/internal/metrics"') + UPLOAD
    headers = {"Authorization": "Bearer secret"}
    assert (
        "resumable_uploads_completed_total{"
        in _run(guarded + get.format("/internal/metrics", headers), tmp_path).stdout
    )
    assert "resumable" not in _run(guarded + get.format("/internal/metrics", {}), tmp_path).stdout


def test_the_formatter_writes_json(tmp_path: Path) -> None:
    """Every line is an object, and the table names all of its facts."""
    done = _run(_block("JSONFormatter") + UPLOAD + "app.logger.error('x\\ny')", tmp_path)
    first, second = [json.loads(line) for line in done.stderr.splitlines()]
    assert (first["upload_event"], first["upload_requests"], first["level"]) == ("complete", 1, "INFO")
    assert second["message"] == "x\ny"
    table = set(re.findall(r"^\| `(upload_\w+)` ", PAGE.read_text(), re.MULTILINE))
    assert table == {name for name in first if name.startswith("upload_")}


def test_one_line_shows_the_log(tmp_path: Path) -> None:
    """The shortest set-up is enough, and the line looks as the page shows it."""
    line = _run(_block("basicConfig(level=logging.INFO)\n") + APP + UPLOAD, tmp_path).stderr
    shown = re.search(r"```text\n(Upload .*)\n```", PAGE.read_text())
    assert shown is not None

    def names(text: str) -> list[str]:
        return re.findall(r"(\w+)=", text)

    assert names(line) == names(shown[1])
    assert "INFO:flask_resumable.uploads:Upload " in line
