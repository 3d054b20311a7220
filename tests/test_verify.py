"""``flask tus verify``: records held against bytes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.service.verify import Findings
from flask_resumable.service.verify import Verifier
from flask_resumable.storage.local import LocalStorage
from tests.conformance.tus_client import PARTIAL
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample
from tests.memory_storage import MemoryStorage


class Site:
    """An app, and what an operator sees of it."""

    def __init__(self, app: Flask, **arguments: Any) -> None:
        self.app = app
        self.now = datetime.now(UTC)
        FlaskResumable(app, now=lambda: self.now, **arguments)
        self.state = app.extensions["resumable"]
        self.tus = Tus(app.test_client())
        self.flow = Flow(app.test_client())
        self.folder = Path(app.instance_path, "uploads")

    def verify(self, *arguments: str) -> Result:
        return self.app.test_cli_runner().invoke(args=["tus", "verify", *arguments])

    def part(self, url: str) -> Path:
        return self.folder / ".partial" / f"{id_of(url)}.part"

    def begun(self, content: bytes = b"01234", length: int = 10, headers: Any = None) -> str:
        """An unfinished upload."""
        url = self.tus.new(length, headers)
        assert self.tus.patch(url, 0, content).status_code == 204
        return url


def id_of(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.fixture
def site(app: Flask) -> Site:
    return Site(app)


def _summary(verified: int, damaged: int = 0, busy: int = 0, failed: int = 0, orphans: int = 0) -> str:
    return (
        f"Uploads verified: {verified}, damaged: {damaged}, busy: {busy}, failed: {failed}. "
        f"Orphans: {orphans}; 'flask tus delete_expired' removes them.\n"
    )


def test_what_is_whole_is_fine(site: Site) -> None:
    """Uploads in every state, with all that was received: nothing to report, by pages of any size."""
    site.tus.upload(b"done")
    site.tus.upload(b"")
    site.tus.part(b"part")
    site.tus.new(5)
    site.begun()
    fenceless = site.begun()
    site.part(fenceless).with_suffix(".lock").unlink()
    _lengthen(site.part(site.begun()))  # what was not acknowledged
    sample = Sample(bytes(30))
    site.flow.send(sample, [3, 1])
    for batch in ("1", "100"):
        result = site.verify("--batch", batch)
        assert (result.exit_code, result.output) == (0, _summary(8))


def _shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize(
    ("kind", "harm", "problem"),
    [
        ("done", Path.unlink, "The finished file {path} is missing."),
        ("done", _shorten, "The finished file {path} has 4 bytes, not 5."),
        ("done", _lengthen, "The finished file {path} has 6 bytes, not 5."),
        ("begun", Path.unlink, "The unfinished file {path} is missing; 5 bytes were received."),
        ("begun", _shorten, "The unfinished file {path} has 4 bytes; 5 were received."),
        ("part", Path.unlink, "The unfinished file {path} is missing; 5 bytes were received."),
        ("part", _shorten, "The unfinished file {path} has 4 bytes; 5 were received."),
        ("part", _lengthen, "The partial upload's file {path} has 6 bytes, not 5."),
    ],
)
def test_what_is_lost_is_told(site: Site, kind: str, harm: Callable[[Path], Any], problem: str) -> None:
    """The damaged upload is named with its trouble, the others are not; exit code 1, and nothing is changed."""
    site.tus.upload(b"other")
    if kind == "begun":
        url = site.begun()
    else:
        url = site.tus.upload(b"01234", PARTIAL if kind == "part" else None)
    path = site.folder / id_of(url) if kind == "done" else site.part(url)
    harm(path)
    before = {file: file.read_bytes() for file in site.folder.rglob("*") if file.is_file()}
    upload = site.state.repository.get(id_of(url))
    result = site.verify()
    assert result.exit_code == 1
    assert result.output == f"{id_of(url)}  {problem.format(path=path)}\n" + _summary(2, 1)
    assert {file: file.read_bytes() for file in site.folder.rglob("*") if file.is_file()} == before
    assert site.state.repository.get(id_of(url)) == upload


def test_holes_behind_the_end_are_told(site: Site) -> None:
    """Chunks that came in no order need the file to reach as far as the last of them."""
    sample = Sample(bytes(30))
    site.flow.send(sample, [3])
    (path,) = site.folder.rglob("*.part")
    os.truncate(path, 29)
    assert "has 29 bytes; 30 were received." in site.verify().output


@pytest.mark.parametrize("whole", [False, True], ids=["unfinished", "finishing"])
def test_chunks_are_looked_at_one_by_one(app: Flask, whole: bool) -> None:
    """Of the chunks that were received, each must be there with its size, until the file is published."""
    app.config.update(FLOW_DELETE_CHUNKS_ON_SAVE=False, PROPAGATE_EXCEPTIONS=False)
    site = Site(app)
    sample = Sample(bytes(40))
    site.flow.send(sample, [1, 2, 4])
    (folder,) = (site.folder / ".chunks").iterdir()
    if whole:
        (folder / "4.chunk").write_bytes(b"")
        assert site.flow.post(sample, 3).status_code == 503
        (folder / "4.chunk").write_bytes(bytes(10))
        site.state.repository.amend(folder.name, lambda upload: _settled(upload, 40), now=site.now)
    assert (site.verify().exit_code, site.verify().output) == (0, _summary(1))
    (folder / "1.chunk").unlink()
    (folder / "4.chunk").write_bytes(b"123")
    result = site.verify()
    assert result.exit_code == 1
    assert f"Chunk 1, {folder / '1.chunk'}, is missing." in result.output
    assert f"Chunk 4, {folder / '4.chunk'}, has 3 bytes, not 10." in result.output
    assert result.output.endswith(_summary(1, 1))


def _settled(upload: Upload, length: int) -> Upload:
    return replace(upload, received=ByteRanges.prefix(length), status=Status.FINISHING)


def test_files_that_the_app_has_changed_may_have_any_size(app: Flask) -> None:
    """Where chunks are put through a callback, no size can be expected; that the file is there, can."""
    app.config["FLOW_PRE_PROCESS_CALLBACK"] = lambda source, target: target.write(source.read() * 2)
    site = Site(app)
    answer = site.flow.send(Sample(b"0123456789"))
    path = site.folder / answer.json["id"]  # type: ignore[index]
    assert path.stat().st_size == 20
    assert site.verify().exit_code == 0
    _shorten(site.folder / id_of(site.tus.upload(b"01234")))
    assert "has 4 bytes, not 5" in site.verify().output
    path.unlink()
    assert f"The finished file {path} is missing." in site.verify().output


def test_what_a_crash_left_between_rename_and_record_is_no_damage(site: Site) -> None:
    """The file is published, the record says that it is to be: the next step mends that."""
    url = site.begun()
    site.state.repository.amend(id_of(url), lambda upload: _settled(upload, 5), now=site.now)
    site.part(url).rename(site.folder / id_of(url))
    assert (site.verify().exit_code, site.verify().output) == (0, _summary(1))
    (site.folder / id_of(url)).unlink()
    assert site.verify().exit_code == 1


class Strict(LocalStorage):
    """Has a problem with every upload."""

    def verify(self, upload: Upload) -> list[str]:
        return ["It is missing."]


@pytest.mark.parametrize("status", [Status.DELETING, Status.GONE])
def test_what_was_removed_is_no_damage(app: Flask, tmp_path: Path, status: Status) -> None:
    """A tombstone has no bytes, nor does an upload whose removal was interrupted, whatever the storage."""
    site = Site(app, storage=Strict(tmp_path / "uploads"))
    upload_id = id_of(site.begun())
    assert site.verify().exit_code == 1
    site.state.repository.amend(upload_id, lambda upload: replace(upload, status=status), now=site.now)
    assert (site.verify().exit_code, site.verify().output) == (0, _summary(1))


def test_leftovers_are_told_and_left(site: Site) -> None:
    """Bytes without a record are named after a while, which is no failure, and stay."""
    url = site.begun()
    upload, claim = site.state.repository.claim(id_of(url), now=site.now, until=site.now)
    site.state.repository.remove(upload, claim)
    kept = site.begun()
    assert site.verify("--orphans-after", "1").output == _summary(1)
    site.now += timedelta(hours=2)
    result = site.verify("--orphans-after", "1")
    assert result.exit_code == 0
    assert result.output == f"{id_of(url)}  Unfinished bytes without a record.\n" + _summary(1, orphans=1)
    assert site.part(url).exists() and site.part(kept).exists()


def test_what_cannot_be_looked_at_is_a_failure(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Trouble with one file keeps nobody from looking at the others; exit code 1, the id, and the log says why."""
    url = site.tus.upload(b"01234")
    loop = site.folder / id_of(url)
    loop.unlink()
    loop.symlink_to(loop)
    assert site.verify().exit_code == 1
    _shorten(site.folder / id_of(site.tus.upload(b"56789")))
    result = site.verify()
    assert result.exit_code == 1
    assert _summary(1, 1, failed=1) in result.output
    assert f"Could not verify: {id_of(url)}." in result.output
    assert "Too many levels of symbolic links" in caplog.text


class Restless(LocalStorage):
    """Says that something is missing, and meanwhile the upload moves on."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.looks = 0
        self.moves: Callable[[Upload], Any] = lambda upload: None

    def verify(self, upload: Upload) -> list[str]:
        problems = super().verify(upload)
        self.looks += 1
        self.moves(upload)
        return problems


def test_what_is_in_somebodys_hands_is_left_to_them(site: Site) -> None:
    """Who holds an upload may just be moving its bytes; once it is free, what is missing is missing."""
    url = site.begun()
    site.part(url).unlink()
    later = site.now + timedelta(seconds=30)
    site.state.repository.claim(id_of(url), now=site.now, until=later)
    assert (site.verify().exit_code, site.verify().output) == (0, _summary(0, busy=1))
    site.now = later
    assert site.verify().exit_code == 1


@pytest.mark.parametrize(("moves", "busy"), [(1, 0), (100, 1)])
def test_what_changes_meanwhile_is_looked_at_again(app: Flask, tmp_path: Path, moves: int, busy: int) -> None:
    """Nothing is damaged by what only a record that is out of date misses; what never stands still is only counted."""
    storage = Restless(tmp_path / "uploads")
    site = Site(app, storage=storage)
    url = site.begun()
    part = tmp_path / "uploads" / ".partial" / f"{id_of(url)}.part"
    part.rename(tmp_path / "away")

    def move(upload: Upload) -> None:
        if storage.looks <= moves:
            claim = site.state.repository.claim(upload.id, now=site.now, until=site.now)[1]
            site.state.repository.release(claim)
        if storage.looks == moves:
            (tmp_path / "away").rename(part)

    storage.moves = move
    result = site.verify()
    assert (result.exit_code, result.output) == (0, _summary(1 - busy, busy=busy))


def test_what_is_removed_meanwhile_is_no_damage(app: Flask, tmp_path: Path) -> None:
    """An upload that went away between two looks had every right to."""
    storage = Restless(tmp_path / "uploads")
    site = Site(app, storage=storage)
    url = site.tus.upload(b"01234")
    (tmp_path / "uploads" / id_of(url)).unlink()
    storage.moves = lambda upload: site.tus.delete(url)
    assert (site.verify().exit_code, storage.looks) == (0, 1)


@pytest.mark.slow
def test_live_traffic_is_never_damage(site: Site) -> None:
    """While uploads come, are finished and removed, verification finds nothing wrong with them."""
    over = threading.Event()
    failures: list[BaseException] = []

    def traffic() -> None:
        try:
            tus, flow = Tus(site.app.test_client()), Flow(site.app.test_client())
            for number in range(60):
                url = tus.new(10)
                tus.patch(url, 0, b"01234")
                tus.patch(url, 5, b"56789")
                flow.send(Sample(bytes(30), name=f"{number}.bin"))
                if number % 2:
                    tus.delete(url)
        except BaseException as error:
            failures.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=traffic)
    thread.start()
    rounds = 0
    with site.app.app_context():
        while not over.is_set() or not rounds:
            findings = Findings()
            verifier = Verifier(site.state.service, site.state.storage, findings, batch=7)
            found = [problem for _, problems in verifier.run(orphans_after=timedelta(hours=1)) for problem in problems]
            assert found == [] and findings.damaged == [] and findings.failed == []
            rounds += 1
    thread.join()
    assert failures == []
    assert site.verify().output.startswith("Uploads verified: 90, damaged: 0")


def test_storages_that_cannot_be_verified_say_so(app: Flask) -> None:
    """An error with a reason, rather than silence that looks like health."""
    app.config["FLOW_ENABLED"] = False
    result = Site(app, storage=MemoryStorage()).verify()
    assert result.exit_code == 1 and "does not support verification" in result.output


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.slow
def test_a_terminal_shows_progress(site: Site, tmp_path: Path, terminal: tuple[int, int]) -> None:
    """Where somebody watches there is a bar; the findings are on lines of their own, and alone in a pipe."""
    url = site.tus.upload(b"01234")
    (site.folder / id_of(url)).unlink()
    (tmp_path / "app.py").write_text(
        "from flask import Flask\nfrom flask_resumable import FlaskResumable\n"
        f"app = Flask('app', instance_path={site.app.instance_path!r})\nFlaskResumable(app)\n"
    )
    ours, theirs = terminal
    environ = {**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(tmp_path)])}
    done = subprocess.run(
        [sys.executable, "-m", "flask", "tus", "verify"],
        cwd=tmp_path,
        env=environ,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    assert done.returncode == 1
    assert re.fullmatch(rf"{id_of(url)}  The finished .* is missing\.\n" + re.escape(_summary(1, 1)), done.stdout)
    os.set_blocking(ours, False)
    assert b"Verifying" in os.read(ours, 65536)
