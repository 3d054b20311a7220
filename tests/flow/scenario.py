"""A flow.js client's life in one process: files in chunks out of order, one cancelled, one empty; killed and taken up.

What the client was told is kept where the death of its process cannot reach it (see ``tests/live/scenario.py``).
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from werkzeug.test import TestResponse

from tests.live.app import create_app
from tests.live.scenario import Memory

from .client import Flow
from .client import Sample

TRIES = 4  # of a step of which one system call fails once
LEASE = 31.0  # seconds after which nobody waits for a dead process any more
DAYS = 3 * 24 * 3600.0  # seconds; beyond every expiry, and beyond the age at which leftovers are removed
WHOLE = Sample(bytes(range(70)), 20, "whole.bin")
DROPPED = Sample(bytes(range(50)), 20, "dropped.bin")
EMPTY = Sample(b"", 20, "empty.bin")


def environ(home: Path, ahead: float) -> dict[str, str]:
    """What the app is started with; FLOW_SCENARIO says where chunks are kept."""
    folder = {"FLOW_TEMP_DIR": str(home / "chunks")} if os.environ.get("FLOW_SCENARIO") == "chunks folder" else {}
    return {"LIVE_MUTE": "1", "LIVE_AHEAD": str(ahead), "LIVE_SETTINGS": json.dumps(folder)}


class Scenario:
    """The scenario as far as it was played in ``home``.

    :param ahead: Seconds that the clock is ahead.
    :param troubles: What a request may be answered when the server is in trouble, besides its proper answer.
    """

    def __init__(self, home: Path, *, ahead: float = 0, troubles: frozenset[int] = frozenset()) -> None:
        self._home = home
        self._ahead = ahead
        self._troubles = troubles
        self._flow = self._start()
        self._memory = Memory(home)

    def play(self) -> None:
        """From the beginning, or from where it stopped, to the end."""
        self._send(WHOLE, 3)
        self._send(DROPPED, 1)
        self._send(WHOLE, 1)
        self._cancel(DROPPED)
        self._send(EMPTY, 1)
        self._send(WHOLE, 2)
        for file in (WHOLE, EMPTY):
            self._see_complete(file)

    def _start(self) -> Flow:
        return Flow(create_app(self._home, environ(self._home, self._ahead)).test_client())

    def _send(self, file: Sample, number: int) -> None:
        """Test the chunk and send it; what was once answered by 200 is there for ever."""
        key = f"{file.name} {number}"
        for attempt in range(TRIES):
            self._be_patient(attempt)
            if self._memory.known.get(f"{file.name} is to go"):
                return  # a later step has been reached already
            answer = self._flow.test(file, number)
            if not self._is_fine(answer, 200, 204):
                continue
            assert answer.status_code == 200 or not self._memory.known.get(key), f"{key} was here, and is not any more"
            if answer.status_code == 204:
                answer = self._flow.octet(file, number) if number % 2 else self._flow.post(file, number)
            if self._is_fine(answer, 200):
                self._memory.keep(key, True)
                self._memory.keep(file.name, (answer.json or {})["id"])
                return
        raise AssertionError(f"{key} could not be sent")

    def _cancel(self, file: Sample) -> None:
        for attempt in range(TRIES):
            self._be_patient(attempt)
            was_tried = self._memory.known.get(f"{file.name} is to go")
            self._memory.keep(f"{file.name} is to go", True)
            answer = self._flow.cancel(file)
            if (was_tried and answer.status_code == 404) or self._is_fine(answer, 204):
                return
        raise AssertionError(f"{file.name} could not be cancelled")

    def _see_complete(self, file: Sample) -> None:
        for attempt in range(TRIES):
            self._be_patient(attempt)
            answer = self._flow.status(file)
            if self._is_fine(answer, 200) and (answer.json or {})["complete"]:
                return
        raise AssertionError(f"{file.name} is not complete: {answer.text}")

    def _be_patient(self, attempt: int) -> None:
        if attempt == TRIES - 1:
            # Whoever could not say that he has let an upload go, holds it until his lease is over.
            self._ahead += LEASE
            self._flow = self._start()

    def _is_fine(self, answer: TestResponse, *statuses: int) -> bool:
        assert answer.status_code in {*statuses, *self._troubles}, (answer.request, answer.status, answer.text)
        return answer.status_code in statuses


def check(home: Path) -> None:
    """What must be true at the end: ask database and disk, let the operator's commands run, and ask again."""
    known = Memory(home).known
    expected = {known[file.name]: file.content for file in (WHOLE, EMPTY)}
    assert receipts(home) == {upload: [hashlib.sha256(content).hexdigest()] for upload, content in expected.items()}
    run(home, "complete_pending", LEASE)
    run(home, "delete_expired", DAYS)
    assert receipts(home).keys() == expected.keys()
    with closing(sqlite3.connect(home / "app.sqlite")) as connection:
        rows = dict(connection.execute("SELECT id, status FROM upload").fetchall())
    assert rows == dict.fromkeys(expected, "complete"), rows
    found = [path for folder in ("uploads", "chunks") for path in (home / folder).rglob("*") if path.is_file()]
    assert {path.name: path.read_bytes() for path in found} == expected
    assert not (home / "chunks").exists() or not list((home / "chunks").iterdir())


def run(home: Path, command: str, ahead: float) -> None:
    """One of the operator's commands, some seconds later."""
    result = create_app(home, environ(home, ahead)).test_cli_runner().invoke(args=["tus", command])
    assert result.exit_code == 0, result.output


def receipts(home: Path) -> dict[str, list[str]]:
    """What on_complete wrote down for each upload."""
    with closing(sqlite3.connect(home / "app.sqlite")) as connection:
        rows = connection.execute("SELECT upload_id, sha256 FROM receipt").fetchall()
    return {upload: [digest for other, digest in rows if other == upload] for upload in Counter(row[0] for row in rows)}
