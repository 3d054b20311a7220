"""Chunks of flow.js on each database, from two processes at once."""

from __future__ import annotations

import hashlib
import threading
import time

import pytest

from tests.flow.returning_client import leave_chunks
from tests.flow.returning_client import return_at_once
from tests.live.journal import PATIENCE

from .conftest import Serve
from .servers import DatabaseServer

pytestmark = pytest.mark.live

EXPIRATION = 4  # seconds


@pytest.mark.parametrize("has_cleaner", [False, True])
def test_files_that_have_expired_begin_anew(database: DatabaseServer, serve: Serve, has_cleaner: bool) -> None:
    """Fifteen files of three chunks at once, which were left half sent: no 404, and each is completed once, with the
    chunks that were answered by 200, though a cleaner removes what was left at the same moment.
    """
    server = serve(database, "-w", "2", EXPIRATION=EXPIRATION, DURABILITY="none")
    files = leave_chunks(server.port, f"{has_cleaner} ")  # the database remembers those of the other test
    time.sleep(EXPIRATION)
    cleaner = threading.Thread(target=server.flask, args=("tus", "delete_expired"))
    if has_cleaner:
        cleaner.start()
        time.sleep(1)  # about as long as it takes to begin
    ends = return_at_once([server.port], files)
    if has_cleaner:
        cleaner.join(4 * PATIENCE)
    for file, end in zip(files, ends, strict=True):
        assert end["complete"], (file.name, end)
        assert (server.folder / end["id"]).read_bytes() == file.content
        assert server.receipts(end["id"]) == [hashlib.sha256(file.content).hexdigest()]
    assert len(server.journal.notes("on_complete")) == len(files)
    assert server.flask("tus", "delete_expired").returncode == 0
    assert sorted(path.name for path in server.folder.glob("?" * 32)) == sorted(end["id"] for end in ends)
    assert [*server.folder.rglob("*.part")] == []
