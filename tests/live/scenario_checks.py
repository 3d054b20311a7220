"""What must be true when a scenario has come to its end, whatever happened on the way."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from .app import create_app
from .scenario import CONTENT
from .scenario import LEASE
from .scenario import Memory
from .scenario import NAMES

DAYS = 8 * 24 * 3600.0  # seconds; beyond every expiry, also that of parts, and the age at which leftovers are removed
FINISHED = ("whole", "joined")


def check(home: Path) -> None:
    """Ask the database and the disk, then let the commands of the operator run, and ask again."""
    paths = {name: Memory(home).known[name].rpartition("/")[2] for name in NAMES}
    receipts = _receipts(home)
    for name in NAMES:
        assert receipts[paths[name]] == (name in FINISHED), (name, receipts)
    assert (home / "uploads" / paths["joined"]).read_bytes() == CONTENT["joined"]
    _run(home, "complete_pending", LEASE)
    _run(home, "delete_expired", DAYS)
    rows = _rows(home)
    # Uploads whose creation was never answered: removed if they were not complete by themselves.
    assert {status for status, _ in rows.values()} == {"complete"}, rows
    assert {kind for _, kind in rows.values()} == {"final"}, rows
    assert paths["joined"] in rows
    receipts = _receipts(home)
    assert {*receipts.values()} == {1}, receipts
    assert {*receipts} == {*rows, paths["whole"]}, (receipts, rows)
    files = {file.name: file for file in (home / "uploads").rglob("*") if file.is_file()}
    assert {*files} == {*rows}, (files, rows)
    for file in files.values():
        assert file.read_bytes() == CONTENT["joined"]
    _run(home, "delete_expired", DAYS)


def clean(home: Path) -> None:
    """Let the cleaner run when everything has expired that can."""
    _run(home, "delete_expired", DAYS)


def check_clean(home: Path) -> None:
    """Only what was finished is left when the cleaner runs again, after the lease of the one that was stopped."""
    _run(home, "delete_expired", DAYS + LEASE)
    (upload_id,) = _rows(home)
    assert upload_id == Memory(home).known["joined"].rpartition("/")[2]
    (file,) = (file for file in (home / "uploads").rglob("*") if file.is_file())
    assert (file.name, file.read_bytes()) == (upload_id, CONTENT["joined"])
    assert _receipts(home) == {upload_id: 1}


def _run(home: Path, command: str, ahead: float) -> None:
    app = create_app(home, {"LIVE_MUTE": "1", "LIVE_AHEAD": str(ahead)})
    result = app.test_cli_runner().invoke(args=["tus", command])
    assert result.exit_code == 0, result.output


def _rows(home: Path) -> dict[str, tuple[str, str]]:
    """Status and kind of each upload."""
    with closing(sqlite3.connect(home / "app.sqlite")) as connection:
        return {row[0]: (row[1], row[2]) for row in connection.execute("SELECT id, status, concat_kind FROM upload")}


def _receipts(home: Path) -> Counter[str]:
    """How often on_complete took effect for each upload, every time on the right bytes."""
    digests = {hashlib.sha256(CONTENT[name]).hexdigest() for name in FINISHED}
    with closing(sqlite3.connect(home / "app.sqlite")) as connection:
        rows = connection.execute("SELECT upload_id, sha256 FROM receipt").fetchall()
    assert {digest for _, digest in rows} <= digests
    return Counter(upload for upload, _ in rows)
