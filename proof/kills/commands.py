"""Runs ``flask tus`` commands in forks of a process that has the app already, so that each takes milliseconds.

Orders come as lines of JSON: ``[["delete_expired"], 3600.0]``, a command and how many seconds its clock is ahead. The
answers are the child's process id at once and, when it has ended, its exit status and what it printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tests.live.servers import Server

from . import app as subject


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int  # negative if a signal ended it
    output: str


class Commands:
    """The process, as the campaign sees it."""

    def __init__(self, server: Server) -> None:
        self._output = server.home / "output"
        with server.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(self._output)],
                env=server.env(),
                cwd=server.home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def start(self, command: Sequence[str], ahead: float = 0) -> int:
        """Begin to run a command, and return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, ahead]) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def ended(self) -> Done:
        """Wait for the end of the command that was started."""
        status = int(self._line())
        return Done(status, self._output.read_text() if self._output.exists() else "")

    def run(self, command: Sequence[str], ahead: float = 0) -> Done:
        """Run a command."""
        self.start(command, ahead)
        return self.ended()

    def close(self) -> None:
        """End the process."""
        self._process.communicate("")

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def serve(output: str) -> None:
    """Fork for every order."""
    app = subject.create_app()
    answers = os.dup(1)
    for line in sys.stdin:
        command, ahead = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                subject.ahead = timedelta(seconds=ahead)
                result = app.test_cli_runner().invoke(args=["tus", *command])
                status = result.exit_code
                with open(output, "w") as file:
                    file.write(result.output)
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        os.write(answers, f"{pid}\n".encode())
        _, ending = os.waitpid(pid, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(ending)}\n".encode())


if __name__ == "__main__":
    serve(sys.argv[1])
