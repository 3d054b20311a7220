"""What an app under test notes: whole lines, appended by all of its processes to one file, to be counted."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 30.0  # seconds that a test waits for something that must happen


@dataclass(frozen=True)
class Note:
    """One event. ``subject`` is an upload's id, or what else stands last in a path."""

    event: str
    subject: str
    pid: int


class Journal:
    """Notes in the order in which they were made."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, event: str, subject: str) -> None:
        """Add a line. O_APPEND makes this safe between processes."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, f"{event}\t{subject}\t{os.getpid()}\n".encode())
        finally:
            os.close(file)

    def notes(self, event: str, subject: str | None = None) -> list[Note]:
        """All notes of one event, about one subject or about all."""
        if not self.path.exists():
            return []
        rows = [line.split("\t") for line in self.path.read_text().splitlines()]
        found = [Note(row[0], row[1], int(row[2])) for row in rows]
        return [note for note in found if note.event == event and subject in (None, note.subject)]

    def wait_for(self, event: str, subject: str | None, *, count: int = 1) -> list[Note]:
        """The notes of an event, as soon as there are ``count`` of them."""
        deadline = time.monotonic() + PATIENCE
        while len(notes := self.notes(event, subject)) < count:
            assert time.monotonic() < deadline, f"{event} of {subject}: {len(notes)} of {count} after {PATIENCE} s"
            time.sleep(0.01)
        return notes
