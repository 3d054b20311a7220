"""Runs the flow.js story under strace; see ``tests/live/tracing.py``, whose processes and faults these are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flask_resumable.service import client_keys as keys
from tests.live import tracing
from tests.live.servers import TESTS

from . import story


class FlowNursery(tracing.Nursery):
    """A process that forks children which tell the story, with chunks kept in one of the two ways."""

    def __init__(self, folder: Path, strace: str, mode: str) -> None:
        self._folder = folder
        self._strace = strace
        self._runs = 0
        path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__ if __name__.startswith("tests.") else f"tests.{__name__}"],
            env={**os.environ, "PYTHONPATH": path, "FLOW_STORY": mode},
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
            story.Story(home)
        case "tell" | "tell in trouble":
            told = story.Story(home, troubles=tracing.TROUBLES if what != "tell" else frozenset())
            begin()
            told.tell()
        case "resume":
            begin()
            story.Story(home, ahead=story.LEASE).tell()
            story.check(home)
        case "recover":
            begin()
            story.run(home, "complete_pending", story.LEASE)
            story.Story(home, ahead=story.LEASE).tell()
            story.check(home)
        case "check":
            begin()
            story.check(home)


if __name__ == "__main__":
    keys.PATIENCE = 0.1  # seconds; nobody else is there to be waited for
    tracing._act = act
    tracing.serve()
