"""``flask tus delete_expired`` beside live uploads, and beside itself."""

from __future__ import annotations

import random
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.prerequisites import require_program

from .conftest import Serve
from .servers import id_of
from .servers import Server

pytestmark = pytest.mark.live

CONTENT = random.Random(4).randbytes(60_000)
DAY = 24 * 3600  # seconds


def files_without_record(server: Server) -> list[str]:
    """Names of files in the upload folder that no record knows."""
    known = {row[0] for row in server.query("SELECT id FROM upload")}
    files = [file for file in server.folder.rglob("*") if file.is_file()]
    return [file.name for file in files if file.name.partition(".")[0] not in known]


def upload_slowly(server: Server) -> str:
    """An upload whose only PATCH lasts longer than the time to finish."""
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)})
        for start in range(0, len(CONTENT), 1_000):  # takes six seconds
            connection.send(CONTENT[start : start + 1_000])
            connection.pause(0.1)
        answer = connection.answer("PATCH")
    assert (answer.status, answer.offset) == (204, len(CONTENT))
    return path


def upload_at_once(server: Server) -> str:
    """An upload in two requests."""
    path = server.tus.create(len(CONTENT), body=CONTENT[:100])
    assert server.tus.patch(path, 100, CONTENT[100:]).status == 204
    return path


def abandon(server: Server) -> str:
    """An upload that nobody will finish, with its connection cut."""
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[:5_000])
        connection.finish()
        connection.answer_or_end("PATCH")
    return path


def test_cleaners_beside_live_uploads_remove_what_has_expired_and_nothing_else(serve: Serve) -> None:
    """Two copies of the command run in a loop while uploads are made, finished and abandoned. Finished ones stay,
    also one whose PATCH was under way when its time was over; of abandoned ones nothing is left; all runs end with 0.
    """
    server = serve("gthread2", EXPIRATION=4, LEASE=5)
    is_over = threading.Event()

    def clean() -> list[subprocess.CompletedProcess[str]]:
        runs = []
        while not is_over.is_set():
            runs.append(server.flask("tus", "delete_expired"))
        return runs

    with ThreadPoolExecutor(8) as pool:
        cleaners = [pool.submit(clean) for _ in range(2)]
        slow = [pool.submit(upload_slowly, server) for _ in range(3)]
        finished, abandoned = [], []
        while not all(upload.done() for upload in slow):
            abandoned.append(abandon(server))
            finished.append(upload_at_once(server))
        is_over.set()
        finished += [upload.result() for upload in slow]
        runs = [run for cleaner in cleaners for run in cleaner.result()]
    assert {run.returncode for run in runs} == {0}, [run.stderr for run in runs if run.returncode]
    last = [server.flask("tus", "delete_expired", ahead=3 * DAY), server.flask("tus", "delete_expired", ahead=3 * DAY)]
    assert [run.returncode for run in last] == [0, 0]
    for path in finished:
        assert server.finished(path).read_bytes() == CONTENT
        assert server.tus.offset(path) == len(CONTENT)
        assert len(server.receipts(path)) == 1
    for path in abandoned:
        assert server.tus.head(path).status == 404
        assert len(server.journal.notes("post_delete", id_of(path))) == 1
    assert {row[0] for row in server.query("SELECT id FROM upload")} == {id_of(path) for path in finished}
    assert files_without_record(server) == []
    assert len(abandoned) > 10


def test_bytes_without_a_record_are_leftovers(serve: Serve) -> None:
    """Unfinished bytes that no record knows are removed once they are a day old, fresh ones and foreign files stay."""
    server = serve("gthread")
    live = server.tus.create(len(CONTENT), body=CONTENT[:10])
    stray = server.folder / ".partial" / ("e" * 32 + ".part")
    stray.write_bytes(b"stray")
    foreign = server.folder / "README"
    foreign.write_text("not ours")
    assert server.flask("tus", "delete_expired").returncode == 0
    assert stray.exists()
    assert server.flask("tus", "delete_expired", "--orphans-after", "0").returncode == 0
    assert not stray.exists()
    assert foreign.exists()
    server.tus.resume(live, CONTENT)
    assert server.finished(live).read_bytes() == CONTENT


def test_what_cannot_be_removed_is_reported_by_the_exit_code(serve: Serve) -> None:
    """A file that cannot be removed makes the command end with 1 and name the upload; all others are removed, and so is
    this one once that is possible.
    """
    server = serve("gthread")
    good = server.tus.create(len(CONTENT), body=CONTENT[:10])
    bad = server.tus.create(len(CONTENT), body=CONTENT[:10])
    also_good = server.tus.create(len(CONTENT), body=CONTENT[:10])
    server.part(bad).unlink()
    (server.part(bad) / "in the way").mkdir(parents=True)
    run = server.flask("tus", "delete_expired", ahead=2 * DAY)
    assert run.returncode == 1
    assert id_of(bad) in run.stderr
    for path in (good, also_good):
        assert server.tus.head(path).status == 404
        assert not server.part(path).exists()
    (server.part(bad) / "in the way").rmdir()
    server.part(bad).rmdir()
    assert server.flask("tus", "delete_expired", ahead=3 * DAY).returncode == 0
    assert server.query("SELECT id FROM upload") == []
    assert files_without_record(server) == []


def test_an_immutable_folder_is_reported_by_the_exit_code(serve: Serve) -> None:
    """The same where the file system itself refuses."""
    server = serve("gthread")
    path = server.tus.create(len(CONTENT), body=CONTENT[:10])
    work = server.part(path).parent
    set_immutable(work, True)
    try:
        run = server.flask("tus", "delete_expired", ahead=2 * DAY)
    finally:
        set_immutable(work, False)
    assert run.returncode == 1
    assert id_of(path) in run.stderr
    assert server.flask("tus", "delete_expired", ahead=3 * DAY).returncode == 0
    assert server.query("SELECT id FROM upload") == []
    assert not server.part(path).exists()


def set_immutable(folder: Path, is_immutable: bool) -> None:
    """Forbid all changes in a folder, also to root."""
    chattr = require_program("chattr", "apt-get install e2fsprogs")
    run = subprocess.run([chattr, "+i" if is_immutable else "-i", folder], capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"A folder can be made immutable by root, on a file system with chattr: {run.stderr.strip()}")
