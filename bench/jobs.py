"""The client, a process of its own: it reads jobs as lines of JSON, and writes a line with each result."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.client import drive
from bench.client import Trouble
from bench.content import Content
from bench.scripts import SCRIPTS
from bench.slow_client import slow


class Jobs:
    """A client process, as the measuring process uses it."""

    def __init__(self, process: Any, content: Path, port: int) -> None:
        self._process, self._content, self._port = process, content, port

    def do(self, name: str, **options: Any) -> dict[str, Any]:
        """Run the scripts of that name. Return their report, with ``seconds`` and the client's own ``cpu``.

        :raises Trouble: A response of the server is not what it should be.
        """
        self.begin(name, **options)
        return self.result()

    def begin(self, name: str, **options: Any) -> None:
        """Start to run the scripts of that name."""
        job = {"name": name, "port": self._port, "content": str(self._content), "options": options}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Wait for the scripts that were started last, and return their report.

        :raises Trouble: A response of the server is not what it should be.
        """
        line = self._process.stdout.readline()
        if not line:
            raise Trouble("the client ended")
        result: dict[str, Any] = json.loads(line)
        if "trouble" in result:
            raise Trouble(result["trouble"])
        return result


@contextmanager
def client(content: Path, port: int) -> Iterator[Jobs]:
    """Start a client process, and end it at the end of the block."""
    command = [sys.executable, "-m", "bench.jobs"]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root, start_new_session=True
    ) as process:
        try:
            yield Jobs(process, content, port)
        finally:
            process.kill()


def main() -> None:
    """Do jobs until the input ends."""
    for line in sys.stdin:
        job = json.loads(line)
        before = time.process_time()
        try:
            with Content(Path(job["content"])) as content:
                if job["name"] == "slow":
                    report, seconds = slow(job["port"], content, **job["options"])
                else:
                    scripts, report = SCRIPTS[job["name"]](**job["options"])
                    seconds = drive(job["port"], scripts, content)
            result = {**report, "seconds": seconds, "cpu": time.process_time() - before}
        except (Trouble, OSError) as error:
            result = {"trouble": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
