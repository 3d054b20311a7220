"""``upload.move_to()``, with its process killed before each change to the disk, and with each of these failing once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.prerequisites import require_strace

from .conftest import Serve
from .move_scenario import FAR
from .raw import Tus
from .servers import id_of
from .test_crash_points import failed_and_retried
from .test_crash_points import for_every_point
from .test_crash_points import killed_and_resumed
from .test_crash_points import Plot
from .test_crash_points import Try
from .watching import watching

pytestmark = pytest.mark.live

CONTENT = os.urandom(100_000)


@pytest.fixture
def far(tmp_path: Path, quick_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file system than the one of the uploads."""
    if os.stat(tmp_path).st_dev == os.stat(quick_disk).st_dev:
        pytest.skip("There is only one file system.")
    monkeypatch.setenv(FAR, str(tmp_path))


@pytest.mark.parametrize(
    ("attempt", "way"),
    [
        *((killed_and_resumed, way) for way in ("near", "near over", "far", "far over")),
        *((failed_and_retried, way) for way in ("near", "far over")),
    ],
)
def test_a_move_stopped_at_any_point_loses_and_leaves_nothing(
    quick_disk: Path, far: None, way: str, attempt: Try
) -> None:
    """Wherever it is killed, or fails: the hook is called again, the file ends in its new place, and there alone."""
    act = "move" if attempt is killed_and_resumed else "move in trouble"
    plot = Plot(f"begin: {way}", f"{act}: {way}", f"check: {way}")
    assert for_every_point(quick_disk, "wal", plot, attempt) > 12


def test_a_hook_that_moves_and_is_killed_is_called_again(serve: Serve, quick_disk: Path) -> None:
    """gunicorn: the worker dies in the hook, behind the move, twice; then it gets through."""
    folder = quick_disk / "data"
    server = serve("gthread", quick_disk / "home", environ={"LIVE_MOVE": str(folder / "{id}.bin")}, LEASE=1)
    server.order("on_complete", "die")
    path = server.tus.create(len(CONTENT))
    place = folder / f"{id_of(path)}.bin"
    with pytest.raises(ConnectionError):
        server.tus.patch(path, 0, CONTENT)
    assert place.read_bytes() == server.finished(path).read_bytes() == CONTENT
    server.journal.wait_for("on_complete", id_of(path), count=1)
    server.countermand("on_complete")
    _until_finished(server.tus, path)
    assert place.read_bytes() == CONTENT
    assert not server.finished(path).exists()
    assert len(server.receipts(path)) == 1
    assert server.flask("tus", "verify").returncode == 0


def _until_finished(tus: Tus, path: str) -> None:
    """Ask until the lease of a worker that has died is over."""
    for _ in range(600):
        try:
            if tus.head(path).status == 200:
                return
        except ConnectionError:
            continue
    raise AssertionError("still not finished")


def test_a_move_within_a_file_system_copies_nothing(serve: Serve, quick_disk: Path) -> None:
    """The file gets a second name, and loses its first one when the record says so."""
    folder = quick_disk / "data"
    require_strace()
    server = serve("gthread", quick_disk / "home", environ={"LIVE_MOVE": str(folder / "{id}.bin")})
    path = server.tus.create(len(CONTENT))
    with watching(server, calls="link,linkat,copy_file_range,sendfile,unlink,unlinkat") as watch:
        assert server.tus.patch(path, 0, CONTENT).status == 204
    assert (folder / f"{id_of(path)}.bin").read_bytes() == CONTENT
    assert watch.calls("copy_file_range", "sendfile") == []
    assert len(watch.calls("link", "linkat")) == 1
