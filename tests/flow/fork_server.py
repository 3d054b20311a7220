"""Runs the flow.js scenario under strace; see ``tests/live/tracing.py``, whose processes and faults these are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flask_resumable.service import client_keys as keys
from tests.live import tracing
from tests.live.servers import TESTS

from . import scenario


class FlowForkServer(tracing.ForkServer):
    """A process that forks children which play the scenario, with chunks kept in one of the two ways."""

    def __init__(self, folder: Path, strace: str, mode: str) -> None:
        self._folder = folder
        self._strace = strace
        self._runs = 0
        path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__ if __name__.startswith("tests.") else f"tests.{__name__}"],
            env={**os.environ, "PYTHONPATH": path, "FLOW_SCENARIO": mode},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.template = folder / "template"
        self.template.mkdir(parents=True)
        self.run("prepare", self.template)


def act(what: str, home: Path, begin: Callable[[], None]) -> None:
    """What a child does."""
    match what:
        case "prepare":
            begin()
            scenario.Scenario(home)
        case "play" | "play in trouble":
            played = scenario.Scenario(home, troubles=tracing.TROUBLES if what != "play" else frozenset())
            begin()
            played.play()
        case "resume":
            begin()
            scenario.Scenario(home, ahead=scenario.LEASE).play()
            scenario.check(home)
        case "recover":
            begin()
            scenario.run(home, "complete_pending", scenario.LEASE)
            scenario.Scenario(home, ahead=scenario.LEASE).play()
            scenario.check(home)
        case "check":
            begin()
            scenario.check(home)


if __name__ == "__main__":
    keys.PATIENCE = 0.1  # seconds; nobody else is there to be waited for
    tracing._act = act
    tracing.serve(lambda home: scenario.Scenario(home).play())
