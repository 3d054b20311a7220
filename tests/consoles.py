"""Types what a page shows after ``$``, and compares what comes out with what the page shows below."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from tests.prerequisites import require_program

ORIGIN = re.compile(r"https?://(?:127\.0\.0\.1|localhost|example\.org)(?::\d+)?(?=/)")
ID = re.compile(r"\b[0-9a-f]{32}\b")
# What differs each time: the value does not count.
VARIES = re.compile(r"^(Upload-Expires|Retry-After): .*|(?<=max-age=)\d+", re.IGNORECASE)


def steps(code: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block, and the lines that the page shows below it."""
    command, shown = "", list[str]()
    for line in code.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line.removeprefix("$ "), []
        elif command.endswith("\\"):
            command = f"{command}\n{line}"
        else:
            shown.append(line)
    if command:
        yield command, shown


@dataclass
class Console:
    """The terminal of a reader who follows a page, with a server at ``origin``."""

    folder: Path
    origin: str
    _set: list[str] = field(default_factory=list)  # variables
    _ids: dict[str, str] = field(default_factory=dict)  # as the page shows them, and as they are

    def type(self, code: str) -> None:
        """Type a block of commands. Each line that the page shows must come out, in any order."""
        for command, shown in steps(code):
            said = self._run(command, shown)
            lines = [line.strip() for line in said.splitlines()]
            for line in shown:
                self._learn(line, lines)
            known = {VARIES.sub(r"\1", line) for line in lines}
            wanted = [self._as_is(line) for line in shown if line.strip() not in ("", "...")]
            missing = [line for line in wanted if VARIES.sub(r"\1", line) not in known]
            assert missing == [], f"$ {command}\n{said}"

    def _run(self, command: str, shown: list[str]) -> str:
        command = ORIGIN.sub(self.origin, ID.sub(lambda found: self._ids.get(found[0], found[0]), command))
        variable = re.match(r"(\w+)=\S", command)
        say = [f'printf %s "${variable[1]}"'] if variable else []
        script = "\n".join(["set -eo pipefail", *self._set, command, *say])
        shows_refusal = any(re.match(r"HTTP/1.1 [45]", line) for line in shown)
        # A refusal that the page does not show is a failure.
        (self.folder / ".curlrc").write_text("" if shows_refusal else "fail\n")
        environ = {**os.environ, "CURL_HOME": str(self.folder)}
        shell = require_program("bash", "apt-get install bash")
        done = subprocess.run([shell, "-c", script], cwd=self.folder, env=environ, capture_output=True, text=True)
        is_wrong = done.returncode != 0 or "not found" in done.stderr
        assert not is_wrong, f"$ {command}\n{done.stdout}{done.stderr}"
        if variable:
            self._set.append(f"{variable[1]}={shlex.quote(done.stdout)}")
            return ""
        return done.stdout

    def _learn(self, line: str, lines: list[str]) -> None:
        """If the page shows an id, find the one that has come out in its place."""
        for found in ID.finditer(line):
            pattern = re.compile(re.escape(line[: found.start()]) + rf"({ID.pattern})")
            real = [match[1] for match in map(pattern.fullmatch, lines) if match]
            if real and found[0] not in self._ids:
                self._ids[found[0]] = real[0]

    def _as_is(self, line: str) -> str:
        return ID.sub(lambda found: self._ids.get(found[0], found[0]), line).strip()
