"""One node: a folder with the app and an environment, and the documented commands."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.live.prometheus import PAGE
from tests.live.servers import Server
from tests.prerequisites import ROOT

APP = Path(__file__).with_name("app.py")
COMMAND = re.compile(r"^\$ gunicorn (.* --bind) 127\.0\.0\.1:8000 app:app$", re.MULTILINE)
CLEAN = re.compile(r"^ExecStart=/srv/app/\.venv/bin/flask --app app (tus delete_expired)$", re.MULTILINE)
PROBE = re.compile(r"^flask --app app (tus check --quick)", re.MULTILINE)


class Node(Server):
    """The nodes share a database and the folder of the uploads, and nothing else."""

    app = "app"

    def __init__(self, home: Path, uploads: Path, database: str) -> None:
        environ = {"FLASK_SQLALCHEMY_DATABASE_URI": database, "FLASK_RESUMABLE_UPLOAD_DIR": str(uploads)}
        super().__init__("gevent", home, environ=environ)
        self.counters = home / "counters"
        self.counters.mkdir()
        shutil.copy(APP, home)
        (counting,) = re.findall(r"```python\n# gunicorn.conf.py\n(.*?)```", PAGE, re.DOTALL)
        (logging,) = re.findall(r"```python\n(logconfig_dict = .*?)```", PAGE, re.DOTALL)
        (home / "gunicorn.conf.py").write_text(counting + logging)
        (formatter,) = re.findall(r"^class JSONFormatter.*?\n\n\n", PAGE, re.DOTALL | re.MULTILINE)
        (home / "json_logs.py").write_text(f"import json\nimport logging\n\n\n{formatter}")

    def env(self, **more: str) -> dict[str, str]:
        """What ``/etc/uploads.env`` says."""
        return {**os.environ, "PYTHONPATH": str(ROOT), **self.environ, **more}

    def start(self) -> None:
        """Start gunicorn, which keeps counters, unlike commands."""
        with self._counting():
            super().start()

    @contextmanager
    def _counting(self) -> Iterator[None]:
        usual = self.environ
        self.environ = {**usual, "PROMETHEUS_MULTIPROC_DIR": str(self.counters)}
        try:
            yield
        finally:
            self.environ = usual

    def migrate(self) -> None:
        """Create the tables."""
        for words in ("db init", "db migrate -m Uploads", "db upgrade"):
            assert self._run(words) == 0

    def is_ready(self) -> bool:
        """What a probe says that runs a command."""
        (words,) = PROBE.findall((ROOT / "docs" / "operations.md").read_text())
        return self._run(words) in (0, 1)

    def clean(self) -> None:
        """What the timer runs."""
        (words,) = CLEAN.findall((ROOT / "docs" / "servers.md").read_text())
        with self._counting():
            assert self._run(words) == 0

    def _run(self, words: str) -> int:
        done = self.flask(*words.split())
        print(words, done.stdout, done.stderr)  # shown if the test has failed
        return done.returncode

    def _command(self) -> list[str]:
        (options,) = COMMAND.findall((ROOT / "docs" / "nginx.md").read_text())
        return ["-m", "gunicorn", *options.split(), f"127.0.0.1:{self.port}", "app:app"]

    @property
    def logged(self) -> list[dict[str, Any]]:
        """Its lines, all of which are JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]
