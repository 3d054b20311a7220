"""The next day on real servers: fifteen files at once, of which each was left half sent, with the cleaner at work."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest

from tests.live.conftest import Serve
from tests.live.journal import PATIENCE
from tests.live.servers import Server

from .returning_client import leave_chunks
from .returning_client import return_at_once
from .returning_client import ReturningClient
from .site import sample
from .socket_client import address
from .socket_client import json_of
from .socket_client import octet

pytestmark = pytest.mark.live

EXPIRATION = 4  # seconds
CLEANERS = {"nobody": 0, "one cleaner": 1, "two cleaners": 2}


@pytest.mark.parametrize("mode", ["in place", "chunks folder"])
@pytest.mark.parametrize("cleaners", CLEANERS)
def test_all_files_of_yesterday_end_complete(serve_live: Serve, quick_disk: Path, cleaners: str, mode: str) -> None:
    """Two processes with eight threads each: no 404, no 200 that goes down with an old record, one on_complete each."""
    folder = {"TEMP_DIR": str(quick_disk / "chunks")} if mode == "chunks folder" else {}
    wishes = {"EXPIRATION": EXPIRATION, "DURABILITY": "none", **folder}
    first, second = (serve_live("gthread", quick_disk / "home", **wishes) for _ in range(2))
    files = leave_chunks(first.port)
    time.sleep(EXPIRATION)
    working = [threading.Thread(target=first.flask, args=("tus", "delete_expired")) for _ in range(CLEANERS[cleaners])]
    for cleaner in working:
        cleaner.start()
    if working:
        first.journal.wait_for("pre_delete", None)
    ends = return_at_once([first.port, second.port], files)
    for cleaner in working:
        cleaner.join(4 * PATIENCE)
    for file, end in zip(files, ends, strict=True):
        assert end["complete"], (file.name, end)
        assert (first.folder / end["id"]).read_bytes() == file.content
        assert first.receipts(end["id"]) == [hashlib.sha256(file.content).hexdigest()]
    assert len(first.journal.notes("on_complete")) == len(files)
    assert first.flask("tus", "delete_expired").returncode == 0
    assert sorted(row[0] for row in first.query("SELECT id FROM upload")) == sorted(end["id"] for end in ends)
    left = [path for path in quick_disk.rglob("*") if path.suffix in (".part", ".lock", ".chunk")]
    assert left == [first.home / "tables.lock"]


@pytest.mark.parametrize("what", ["sleep 2", "fail"])
def test_a_slow_cleaner_is_waited_for_and_a_failing_one_is_not(serve_live: Serve, quick_disk: Path, what: str) -> None:
    """pre_delete takes its time, or fails: tests say 204 at once, chunks wait at most for that, and none gets 404."""
    server = serve_live("gthread", quick_disk / "home", EXPIRATION=EXPIRATION, DURABILITY="none")
    file = sample(45)
    with server.tus.connect() as connection:
        for number in (1, 2):
            old = json_of(octet(connection, file, number))["id"]
    time.sleep(EXPIRATION)
    server.order("pre_delete", what)
    cleaner = threading.Thread(target=server.flask, args=("tus", "delete_expired"))
    cleaner.start()
    server.journal.wait_for("pre_delete", old)
    assert server.tus.request("GET", address(file, 1)).status == 204
    end = ReturningClient([server.port], file, is_retrying=False).run()
    cleaner.join(4 * PATIENCE)
    assert end["complete"] and end["id"] != old
    assert (server.folder / end["id"]).read_bytes() == file.content
    assert len(server.query("SELECT id FROM upload")) == (2 if what == "fail" else 1)


def test_a_cleaner_that_was_killed_holds_nobody_up_for_long(serve_live: Serve, quick_disk: Path) -> None:
    """It dies within pre_delete, with the upload in hand: the client begins anew, at the latest after the lease."""
    server = serve_live("gthread", quick_disk / "home", EXPIRATION=EXPIRATION, DURABILITY="none", LEASE=2)
    file = sample(45)
    with server.tus.connect() as connection:
        octet(connection, file, 1)
    time.sleep(EXPIRATION)
    server.order("pre_delete", "die now")
    assert server.flask("tus", "delete_expired").returncode < 0
    server.countermand("pre_delete")
    assert ReturningClient([server.port], file, is_retrying=False).run()["complete"]
    check_clean(server)


def check_clean(server: Server) -> None:
    """After the cleaner, there is nothing but the finished file."""
    assert server.flask("tus", "delete_expired").returncode == 0
    ((upload_id,),) = server.query("SELECT id FROM upload")
    assert [path.name for path in server.folder.rglob("*") if path.is_file()] == [upload_id]


def test_chunks_that_come_all_the_time_keep_an_upload_alive(serve_live: Serve, quick_disk: Path) -> None:
    """It takes longer than EXPIRATION, beside a cleaner that runs again and again; questions count as well."""
    server = serve_live("gthread", quick_disk / "home", EXPIRATION=EXPIRATION, DURABILITY="none")
    file = sample(105)
    ids, may_end = set(), threading.Event()

    def clean() -> None:
        while not may_end.is_set():
            server.flask("tus", "delete_expired")

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    for number in file.numbers:
        for _ in range(3 if number == 5 else 1):
            time.sleep(EXPIRATION / 5)
            assert number == 1 or server.tus.request("GET", address(file, 1)).status == 200
        with server.tus.connect() as connection:
            ids.add(json_of(octet(connection, file, number))["id"])
    may_end.set()
    cleaner.join(4 * PATIENCE)
    assert len(ids) == 1
    assert (server.folder / ids.pop()).read_bytes() == file.content
