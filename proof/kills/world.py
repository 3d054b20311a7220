"""A server whose processes are killed, its database and its commands, and what can be seen of them from outside."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy import text

from tests.live.raw import Answer
from tests.live.servers import Server

from .app import EMBEDDED
from .commands import Commands

LEASE = 600  # seconds; whoever waits for it does not get through
BUSY = (423, 503)  # what a server answers that wants to be asked again
_SLOW = 2.0  # seconds
_PAUSE = 0.002  # seconds between two attempts
_CALIBRATIONS = 1  # rounds of each kind without a kill, which tell how long it takes
_BEYOND = 1.05  # times that duration, in which the kill comes

DAYS = 30 * 24 * 3600.0  # seconds; beyond every expiry


class Lost(AssertionError):
    """A promise was broken."""


@dataclass
class Seen:
    """What the rounds of all worlds have seen."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    kills: Counter[str] = field(default_factory=Counter)  # by the kind of round
    states: Counter[str] = field(default_factory=Counter)  # of the upload, after the kill
    answered: int = 0  # kills after the answer
    waits: dict[str, list[float]] = field(default_factory=dict)  # seconds until a request got through, by kind
    unnoted: list[int] = field(default_factory=list)  # bytes that were written and had to be sent again
    repeated: int = 0  # hooks that were called again where they do not share a transaction with the upload
    left: int = 0  # removals that a repeated DELETE has left to the cleaner
    slow: list[str] = field(default_factory=list)  # what took long to get through, and what was answered meanwhile
    durations: dict[str, float] = field(default_factory=dict)  # seconds that an act takes that is not killed
    calibrations: Counter[str] = field(default_factory=Counter)

    def duration(self, kind: str, seconds: float) -> None:
        """Learn how long an act takes."""
        with self.lock:
            known = self.durations.get(kind, seconds)
            self.durations[kind] = 0.8 * known + 0.2 * seconds
            self.calibrations[kind] += 1


_starting = threading.Lock()


class TestedServer(Server):
    """gunicorn, with the app loaded before its workers are forked."""

    app = "proof.kills.app:create_app"
    patience = 600.0

    def start(self) -> None:
        """Start, one server after another, because several at once take longer than anybody waits for one."""
        with _starting:
            super().start()


class World:
    """One server on one database."""

    def __init__(
        self, home: Path, uri: str, seen: Seen, *, workers: int, patience: float, mutant: str | None = None
    ) -> None:
        """Start it.

        :param patience: How many seconds after a kill a request must get through.
        """
        self.seen = seen
        self.is_embedded = uri == EMBEDDED
        self._patience = patience
        self._workers = workers
        environ = {"KILLS_DATABASE": uri, "KILLS_MUTANT": mutant or ""}
        settings = {"LEASE": LEASE, "EXPIRATION": DAYS / 10, "INTERIM_RESPONSES": "on"}
        self.server = TestedServer("gthread", home, settings, ("--preload", "-w", str(workers)), environ)
        self.server.start()
        self.commands = Commands(self.server)
        file = f"sqlite:///{home / 'instance' / 'resumable.sqlite'}"
        self._uploads = create_engine(file if self.is_embedded else uri)
        self._hooks = create_engine(f"sqlite:///{home / 'app.sqlite'}") if self.is_embedded else self._uploads
        self.killed_at = 0.0
        self.was_killed = False

    def close(self) -> None:
        """End everything."""
        self.commands.close()
        self.server.stop()
        self._uploads.dispose()
        self._hooks.dispose()

    # --- killing ---

    @contextmanager
    def killing(self, kind: str, chance: random.Random, pids: Callable[[], list[int]] | None = None) -> Iterator[None]:
        """Kill the server at some moment of what is done in the context, or soon after it. Broken connections are fine.

        :param pids: What to kill; by default one or all of the server's workers.
        """
        seen = self.seen
        self.was_killed = seen.calibrations[kind] >= _CALIBRATIONS and chance.random() > 0.02
        delay = chance.uniform(0, _BEYOND) * seen.durations.get(kind, 0)
        is_one = self._workers > 1 and chance.random() < 0.5

        def kill() -> None:
            time.sleep(delay)
            found = (pids or self.server.workers)()
            self.killed_at = time.monotonic()
            for pid in [chance.choice(found)] if is_one and found else found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        began = self.killed_at = time.monotonic()
        if self.was_killed:
            killer.start()
        is_done = False
        try:
            with suppress(OSError):
                yield
                is_done = True
            if is_done and not self.was_killed:
                seen.duration(kind, time.monotonic() - began)
        finally:
            if self.was_killed:
                killer.join()
                with seen.lock:
                    seen.kills[kind] += 1
                    seen.answered += is_done
        if not is_done and not self.was_killed:
            raise Lost(f"{kind}: the connection broke, although nothing was killed")

    def through(self, kind: str, ask: Callable[[], Answer]) -> Answer:
        """Ask until the server answers, and note how long after the kill that is."""
        answers: Counter[str] = Counter()
        while True:
            answer = None
            with suppress(OSError):
                answer = ask()
            answers[str(answer and answer.status)] += 1
            waited = time.monotonic() - self.killed_at
            if answer is not None and answer.status not in BUSY:
                break
            if waited > self._patience:
                raise Lost(f"{kind}: no request got through in {waited:.1f} s: {answer}")
            time.sleep(_PAUSE)
        if waited > _SLOW:
            self.seen.slow.append(f"{kind}: {waited:.1f} s, {dict(answers)}")
        if self.was_killed:
            with self.seen.lock:
                self.seen.waits.setdefault(kind, []).append(waited)
            self.was_killed = False  # later requests do not count
        return answer

    def command(self, *command: str, ahead: float = 0) -> str:
        """Run a command, which must succeed; what it prints."""
        done = self.commands.run(command, ahead)
        if done.status != 0:
            raise Lost(f"flask tus {' '.join(command)} ended with {done.status}: {done.output}")
        return done.output

    # --- what is kept ---

    def note_state(self, upload_id: str | None) -> None:
        """Note in which state an upload was left, or the only one whose state is not settled."""
        query = "SELECT status FROM resumable_uploads WHERE id = :id"
        if upload_id is None:
            query = "SELECT status FROM resumable_uploads WHERE status = 'new'"
        rows = self._rows(self._uploads, query, id=upload_id)
        with self.seen.lock:
            self.seen.states[rows[0][0] if rows else "no record"] += 1

    def records(self) -> dict[str, str]:
        """The state of each upload."""
        return dict(self._rows(self._uploads, "SELECT id, status FROM resumable_uploads"))

    def rows(self, hook: str, upload_id: str) -> list[str | None]:
        """The digests in the rows that a hook has written for an upload."""
        query = "SELECT sha256 FROM hook_rows WHERE hook = :hook AND upload_id = :id"
        return [row[0] for row in self._rows(self._hooks, query, hook=hook, id=upload_id)]

    def all_rows(self, hook: str) -> list[str]:
        """The uploads of all rows that a hook has written."""
        return [row[0] for row in self._rows(self._hooks, "SELECT upload_id FROM hook_rows WHERE hook = :h", h=hook)]

    def files(self, upload_id: str = "") -> list[Path]:
        """All files of an upload, or of all."""
        return [path for path in self.server.folder.rglob("*") if path.is_file() and upload_id in path.name]

    @staticmethod
    def _rows(engine: Any, query: str, **values: Any) -> list[Any]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]
