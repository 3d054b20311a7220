"""docs/monitoring.md: its examples run, and its tables are complete."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

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
