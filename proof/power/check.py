"""What must be true after a loss of power: the app is started on the disk, and everything is asked again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from flask.testing import FlaskClient

from flask_resumable import processes

from .app import Clock
from .app import create_app
from .app import Setup
from .story import CONTENT
from .story import DRAFT
from .story import FILES
from .story import Known
from .story import OCTETS
from .story import send_chunk
from .story import TUS

TRIES = 3  # of a client, which may meet a claim of before
_LATER = timedelta(seconds=100)  # until the machine runs again: longer than any claim lasts
_MUCH_LATER = timedelta(days=16)  # beyond every expiry


class Broken(Exception):
    """A promise does not hold."""


def reboot() -> None:
    """Let this process believe that the machine was restarted since the disk was written."""
    processes._linux_boot.cache_clear()
    before = processes._linux_boot() or b""
    processes._linux_boot = lambda: b"after the loss of power " + before  # type: ignore[assignment]
    processes.boot.cache_clear()
    processes._machine.cache_clear()


class Check:
    """Looks at one disk.

    :param known: What clients know about their uploads.
    :param ahead: How far the clock was ahead when the power failed.
    """

    def __init__(self, home: Path, setup: Setup, known: dict[str, Known], ahead: timedelta) -> None:
        self._home = home
        self._setup = setup
        self._known = known
        self._is_durable = setup.durability != "none"
        self._clock = Clock()
        self._clock.ahead = ahead + _LATER
        self._app = create_app(home, setup, self._clock)
        self._client: FlaskClient = self._app.test_client()
        self.lost = 0  # bytes that were answered, where that may happen

    def run(self) -> None:
        """Ask, let clients go on, and clean.

        :raises Broken: Anything is not as promised.
        """
        self._read_databases()
        for name, known in self._known.items():
            if known.url:
                self._look(name, known)
        self._verify()
        for name, known in self._known.items():
            if known.url and not known.is_doomed:
                self._finish(name, known)
        self._command("complete_pending")
        self._clock.ahead += _MUCH_LATER
        self._command("delete_expired")
        self._look_around()

    # --- what was answered ---

    def _read_databases(self) -> None:
        for file in (self._home / "app.sqlite", self._home / "instance" / "resumable.sqlite"):
            if not file.exists():
                continue
            with closing(sqlite3.connect(file)) as connection:
                (said,) = connection.execute("PRAGMA integrity_check").fetchone()
            _demand(said == "ok", f"{file.name}: {said}")

    def _look(self, name: str, known: Known) -> None:
        if FILES[name].kind == "flow":
            return self._look_at_chunks(name, known)
        headers = DRAFT if FILES[name].kind == "ietf" else TUS
        answer = self._client.head(known.url, headers=headers)
        if answer.status_code in (404, 410, 423) and not self._is_durable:
            known.is_doomed = True  # its creation is lost, or its parts are: the client makes it again
            self.lost += known.floor
            return None
        if known.is_gone and self._is_durable:
            return _demand(answer.status_code in (404, 410), f"{name} was removed: {answer.status}")
        if known.is_doomed and answer.status_code in (404, 410):
            return None
        _demand(answer.status_code in (200, 204), f"{name} was created: {answer.status}")
        is_assembled = FILES[name].kind != "final" or "Upload-Offset" in answer.headers
        offset = int(answer.headers["Upload-Offset"]) if is_assembled else 0
        _demand(offset <= max(known.tried, known.floor), f"{name}: offset {offset}, but {known.tried} were sent")
        self._compare(name, known, offset)
        if offset < known.floor:
            self.lost += known.floor - offset
            _demand(not self._is_durable, f"{name}: offset {offset}, but {known.floor} was answered")

    def _compare(self, name: str, known: Known, offset: int) -> None:
        """Compare the bytes up to an offset with what was sent."""
        if offset and not known.is_doomed:
            stored = self._stored(known)
            if not self._is_right(stored[:offset], CONTENT[name][:offset]):
                raise Broken(f"{name}: {_difference(stored, name, offset)}")

    def _is_right(self, stored: bytes, expected: bytes) -> bool:
        """Whether stored bytes are as expected, or missing where that may happen."""
        if self._is_durable:
            return stored == expected
        self.lost += len(expected) - len(stored)
        return all(found in (0, byte) for found, byte in zip(stored, expected, strict=False))

    def _stored(self, known: Known) -> bytes:
        name = known.url.rpartition("/")[2]
        uploads = self._home / "uploads"
        for file in (uploads / name, uploads / "kept" / name, uploads / ".partial" / f"{name}.part"):
            if file.exists():
                return file.read_bytes()
        return b""

    def _look_at_chunks(self, name: str, known: Known) -> None:
        answer = self._client.get(known.url)
        if answer.status_code == 404 and not self._is_durable:
            known.is_doomed = True
            return
        _demand(answer.status_code == 200, f"{name} was created: {answer.status}")
        told = answer.get_json()
        file = FILES[name]
        missing = [(start, stop) for start, stop in told["missing"]]
        for number in range(1, file.size // file.chunk + 1):
            start = (number - 1) * file.chunk
            stop = file.size if number == file.size // file.chunk else start + file.chunk
            is_missing = any(lower < stop and start < upper for lower, upper in missing)
            if number in known.chunks:
                _demand(not is_missing or not self._is_durable, f"{name}: chunk {number} was answered and is missing")
            if not is_missing and (self._setup.chunks == "place" or told["complete"]):
                found = self._stored(known)[start:stop]
                _demand(self._is_right(found, CONTENT[name][start:stop]), f"{name}: chunk {number} differs")
            elif not is_missing:
                folder = self._home / "chunks" / known.url.rpartition("/")[2]
                chunk = folder / f"{number}.chunk"
                found = chunk.read_bytes() if chunk.exists() else self._stored(known)[start:stop]
                is_right = self._is_right(found, CONTENT[name][start:stop])
                _demand(is_right, f"{name}: chunk {number} is not there, or differs")
        _demand(told["complete"] or not known.is_complete or not self._is_durable, f"{name} was complete")

    def _verify(self) -> None:
        if self._is_durable:
            self._command("verify")

    # --- what clients do then ---

    def _finish(self, name: str, known: Known) -> None:
        kind = FILES[name].kind
        if kind == "flow":
            for number in range(1, FILES[name].size // FILES[name].chunk + 1):
                is_sent = any(send_chunk(self._client, name, number).status_code == 200 for _ in range(TRIES))
                _demand(is_sent, f"{name}: chunk {number} cannot be sent")
        elif kind != "final":
            _demand(any(self._continue(name, known) for _ in range(TRIES)), f"{name} cannot be finished")
        self._whole(name, known)

    def _continue(self, name: str, known: Known) -> bool:
        """Ask for the offset and send the rest; whether that worked."""
        is_draft, content = FILES[name].kind == "ietf", CONTENT[name]
        headers = DRAFT if is_draft else TUS
        answer = self._client.head(known.url, headers=headers)
        if answer.status_code not in (200, 204):
            return False
        offset = int(answer.headers["Upload-Offset"])
        if offset == len(content) and (not is_draft or answer.headers["Upload-Complete"] == "?1"):
            return True
        more = {"Upload-Complete": "?1"} if is_draft else {}
        kind = "application/partial-upload" if is_draft else OCTETS
        fields = {**headers, **more, "Upload-Offset": str(offset), "Content-Type": kind}
        return self._client.patch(known.url, headers=fields, data=content[offset:]).status_code in (200, 204)

    def _whole(self, name: str, known: Known) -> None:
        if FILES[name].kind == "flow":
            known = Known(url=self._found(name) or known.url)
        stored = self._stored(known)
        if not self._is_right(stored, CONTENT[name]):
            raise Broken(f"{name} is finished: {_difference(stored, name, len(CONTENT[name]))}")

    def _found(self, name: str) -> str | None:
        """Return the URL of a file of flow.js, which may have been created again."""
        answer = send_chunk(self._client, name, 1)
        told = answer.get_json(silent=True) or {}
        return f"/flow/{told['id']}" if "id" in told else None

    # --- what is left in the end ---

    def _command(self, name: str) -> None:
        result = self._app.test_cli_runner().invoke(args=["tus", name])
        if name == "complete_pending" and not self._is_durable:
            return  # it says which uploads have lost bytes
        _demand(result.exit_code == 0, f"flask tus {name}: {' '.join(result.output.split())[-300:]}")

    def _look_around(self) -> None:
        """Files and records correspond, and ``on_complete`` has taken effect once for each finished upload."""
        with closing(sqlite3.connect(self._home / "app.sqlite")) as connection:
            receipts = connection.execute("SELECT upload_id, sha256 FROM receipt").fetchall()
        rows = self._records()
        files = {file.name: file for file in (self._home / "uploads").rglob("*") if file.is_file()}
        _demand({*rows.values()} <= {"complete"}, f"records after cleaning: {rows}")
        _demand(
            {*files} == {*rows} or not self._is_durable,
            f"files {sorted(files)} and records {sorted(rows)} differ after cleaning",
        )
        folder = self._home / "chunks"
        left = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
        _demand(not left or not self._is_durable, f"chunks are left after cleaning: {left}")
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
        names = {known.url.rpartition("/")[2]: name for name, known in self._known.items() if known.url}
        for upload_id, digest in receipts:
            name = names.get(upload_id)
            expected = {*digests.values()} if name is None else {digests[name]}
            _demand(digest in expected or not self._is_durable, f"on_complete saw other bytes of {name or upload_id}")
        counts = Counter(upload_id for upload_id, _ in receipts)
        for upload_id in rows if self._is_durable else ():
            count = counts[upload_id]
            is_right = count >= 1 if self._setup.database == "embedded" else count == 1
            _demand(is_right, f"on_complete took effect {count} times for {names.get(upload_id, upload_id)}")
        if self._setup.database != "embedded":
            _demand({*counts.values()} <= {1}, f"on_complete took effect more than once: {counts}")

    def _records(self) -> dict[str, str]:
        """Return the status of every record."""
        is_embedded = self._setup.database == "embedded"
        file = self._home / ("instance/resumable.sqlite" if is_embedded else "app.sqlite")
        if not file.exists():
            return {}  # nothing was stored before the power failed
        with closing(sqlite3.connect(file)) as connection:
            table = "resumable_uploads" if is_embedded else "upload"
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                return {}
            return dict(connection.execute(f"SELECT id, status FROM {table}").fetchall())


def _demand(is_true: bool, otherwise: str) -> None:
    if not is_true:
        raise Broken(otherwise)


def _difference(stored: bytes, name: str, offset: int) -> str:
    content = CONTENT[name]
    common = next((at for at in range(min(len(stored), offset)) if stored[at] != content[at]), min(len(stored), offset))
    return f"of the first {offset} bytes, {common} are right; the file has {len(stored)}"
