"""What the flow.js Python server promised, kept here; and none of its defects."""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from typing import BinaryIO

import pytest
from flask import Flask

import flask_resumable
from flask_resumable import FlaskResumable
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ConfigurationError
from flask_resumable.errors import ResumableError
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.local.chunk_folder import ChunkFolder
from tests.memory_storage import MemoryStorage

from .client import Sample
from .conftest import Serve
from .site import sample
from .site import Site


def rot13(source: BinaryIO, target: BinaryIO) -> None:
    """Other bytes, as many."""
    table = bytes((byte + 13) % 256 for byte in range(256))
    while block := source.read(4):
        target.write(block.translate(table))


# --- what was promised ---


def test_seed_tests_if_a_chunk_exists(site: Site) -> None:
    """ "Testing if uploaded file chunk exists": GET, 200 or 204."""
    assert site.flow.test(sample(), 1).status_code == 204
    site.flow.post(sample(), 1)
    assert site.flow.test(sample(), 1).status_code == 200


def test_seed_validates_a_chunk(site: Site) -> None:
    """ "Validating file chunk": one of the wrong size is 400."""
    assert site.flow.post(sample(), 1, b"short").status_code == 400


def test_seed_makes_a_chunks_folder(serve_folder: Serve) -> None:
    """ "Creating separate chunks folder": tempDir is FLOW_TEMP_DIR, made when it is needed; a file for each chunk."""
    site = serve_folder()
    assert site.chunks is not None and not site.chunks.exists()
    file = sample(35)
    site.flow.send(file, [1, 3])
    upload_id = site.uploads()[0].id
    assert {path.name for path in site.chunks.iterdir()} == {upload_id}
    assert (site.chunks / upload_id / "1.chunk").read_bytes() == file.piece(1)
    assert (site.chunks / upload_id / "3.chunk").read_bytes() == file.piece(3)


def test_seed_validates_all_chunks_and_merges_them(serve_folder: Serve) -> None:
    """ "Validating uploaded chunks", "Merging all chunks to a single file": in order, and the chunks go."""
    site = serve_folder()
    file = sample(125)
    assert site.stored(site.flow.send(file, list(reversed(file.numbers)))) == file.content
    assert site.chunks is not None and list(site.chunks.iterdir()) == []
    assert [path.suffix for path in site.server.folder.rglob("*") if path.is_file()] == [""]


def test_seed_delete_chunks_on_save(serve: Serve) -> None:
    """deleteChunksOnSave is FLOW_DELETE_CHUNKS_ON_SAVE: with False the chunks stay, for as long as the file does."""
    site = serve(DELETE_CHUNKS_ON_SAVE=False)
    file = sample()
    answer = site.flow.send(file)
    folder = site.chunks or site.server.folder / ".chunks"
    kept = {path.name: path.read_bytes() for path in folder.rglob("*.chunk")}
    assert kept == {"1.chunk": file.piece(1), "2.chunk": file.piece(2)}
    os.utime(next(folder.iterdir()), (0, 0))
    site.server.clock.advance(days=9)
    site.server.cli("tus", "delete_expired")
    assert len(list(folder.rglob("*.chunk"))) == 2
    assert site.stored(answer) == file.content
    site.flow.open("DELETE", path=(answer.json or {})["id"])
    assert not list(folder.rglob("*.chunk"))


def test_seed_hash_name_callback(serve: Serve) -> None:
    """hashNameCallback is FLOW_HASH_NAME_CALLBACK: it gets the file and names its upload."""
    site = serve(HASH_NAME_CALLBACK=lambda file: hashlib.sha1(file.identifier.lower().encode()).hexdigest())
    site.flow.post(sample(identifier="A", name="one", path="p"), 1)
    assert site.flow.test(sample(identifier="a", name="two", path="q"), 1).status_code == 200


@pytest.mark.parametrize("forced", [False, True])
def test_seed_pre_process_callback(serve: Serve, forced: bool) -> None:
    """preProcessCallback is FLOW_PRE_PROCESS_CALLBACK: each chunk goes through it on its way into the file."""
    site = serve(PRE_PROCESS_CALLBACK=rot13)
    file = sample(47, forced=forced)
    answer = site.flow.send(file, list(reversed(file.numbers)))
    assert site.stored(answer) == bytes((byte + 13) % 256 for byte in file.content)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_seed_pre_process_callback_may_change_lengths(serve_folder: Serve, times: int) -> None:
    """Unpacked or packed: the file has what the callback wrote, and its digest is that of the file."""
    digests: list[str] = []
    site = serve_folder(PRE_PROCESS_CALLBACK=lambda source, target: target.write(source.read() * times))
    site.during("on_complete", lambda upload: digests.append(upload.digest("sha256")))
    file = sample(35)
    answer = site.flow.send(file)
    expected = b"".join(file.piece(number) * times for number in file.numbers)
    assert site.stored(answer) == expected
    assert digests == [hashlib.sha256(expected).hexdigest()]


def test_seed_pre_process_callback_that_fails(serve_folder: Serve) -> None:
    """503, no file; the chunks stay, and the next request merges them."""
    failures = [RuntimeError("broken"), OSError(28, "full")]

    def moody(source: BinaryIO, target: BinaryIO) -> None:
        target.write(source.read(3))
        if failures:
            raise failures.pop()
        target.write(source.read())

    site = serve_folder(PRE_PROCESS_CALLBACK=moody)
    file = sample()
    site.flow.send(file, [1])
    assert site.flow.post(file, 2).status_code == 507
    assert site.flow.test(file, 1).status_code == 503
    assert set(site.files()) == {"1.chunk", "2.chunk", f"{site.uploads()[0].id}.part"}
    assert site.count("on_complete") == 0
    assert site.stored(site.flow.test(file, 1)) == file.content
    assert site.count("on_complete") == 1


# --- what was wrong ---


def test_the_readme_example_works() -> None:
    """One import, and everything it needs is there."""
    assert inspect.isclass(flask_resumable.FlaskResumable)


def test_a_misspelt_key_is_an_error(serve_plain: Serve) -> None:
    """A setting that nobody reads stops the app, instead of being ignored."""
    with pytest.raises(ConfigurationError, match="PREPROCESS_CALLBACK"):
        serve_plain(PREPROCESS_CALLBACK=rot13)


def test_errors_are_exceptions() -> None:
    """Error handlers and rollbacks see them."""
    assert issubclass(ResumableError, Exception)


def test_false_is_possible(serve: Serve) -> None:
    """DELETE_CHUNKS_ON_SAVE=False is heeded; anything but True and False is an error."""
    serve(DELETE_CHUNKS_ON_SAVE=False)
    with pytest.raises(ConfigurationError, match="DELETE_CHUNKS_ON_SAVE"):
        serve(DELETE_CHUNKS_ON_SAVE="never")


def test_a_storage_that_lacks_something_is_refused(tmp_path: Path) -> None:
    """A storage says what it can do, and an app starts only with one that can do what it needs."""
    assert LocalStorage(tmp_path).capabilities.chunks is not None
    with pytest.raises(ConfigurationError, match="FLOW_ENABLED"):
        FlaskResumable(Flask("app", instance_path=str(tmp_path)), storage=MemoryStorage())
    with pytest.raises(ConfigurationError, match="StorageCapabilities"):
        FlaskResumable(Flask("app", instance_path=str(tmp_path)), storage=object())  # type: ignore[arg-type]


def test_a_hit_is_not_a_finished_file(site: Site) -> None:
    """The answer says whether the file is complete, and on_complete is called for that alone."""
    site.flow.post(sample(), 1)
    answer = site.flow.test(sample(), 1)
    assert answer.json and answer.json["complete"] is False
    assert site.count("on_complete") == 0


@pytest.mark.parametrize("size", [1, 100, 4095])
def test_small_chunks_are_measured(site: Site, size: int) -> None:
    """Below any buffer's size, one byte less or more is 400."""
    file = sample(size, size)
    for wrong in (size - 1, size + 1):
        assert site.flow.post(file, 1, b"x" * wrong).status_code == 400
    assert site.stored(site.flow.post(file, 1)) == file.content


def test_numbers_have_a_range(site: Site) -> None:
    """Chunk -5, chunk 999 of 2, chunk "x": 400, and no file."""
    for number in ("-5", "999", "x"):
        assert site.flow.post(sample(), 1, changes={"chunkNumber": number}).status_code == 400
    assert site.files() == []


def test_nothing_is_truncated(site: Site) -> None:
    """N = 0 and T = 0 is 400; a finished file stays as it is."""
    answer = site.flow.send(sample())
    changes = {"totalChunks": 0, "totalSize": 0}
    assert site.flow.post(sample(), 1, b"", changes).status_code == 400
    assert site.stored(answer) == sample().content


def test_requests_without_a_file(site: Site) -> None:
    """No file part, another field, HEAD, OPTIONS: each has its status."""
    fields = site.flow.parts(sample(), 1)[:-1]
    assert site.flow.form(fields).status_code == 400
    assert site.flow.test(sample(), 1, method="HEAD").status_code == 204
    assert site.flow.open("OPTIONS").status_code == 204


def test_every_chunk_has_its_length(site: Site) -> None:
    """A short chunk and a long one that make the right sum do not pass."""
    assert site.flow.post(sample(20), 1, b"x" * 9).status_code == 400
    assert site.flow.post(sample(20), 2, b"x" * 11).status_code == 400


def test_geometries_are_not_mixed(site: Site) -> None:
    """Another chunk size or another total is another upload."""
    content = bytes(range(40))
    site.flow.send(Sample(content, 10, identifier="i"), [1, 2])
    other = Sample(content, 20, identifier="i")
    assert site.stored(site.flow.send(other)) == content


@pytest.mark.slow
def test_two_mergers_lose_nothing(serve_folder: Serve) -> None:
    """The last two chunks at once, over and over: the file is whole each time, and completed once."""
    site = serve_folder()
    clients = [site.client(), site.client()]
    with ThreadPoolExecutor(2) as pool:
        for number in range(30):
            file = sample(30, name=f"{number}.bin")
            site.flow.send(file, [1])
            answers = list(pool.map(lambda client, n, file=file: client.post(file, n), clients, (2, 3)))
            assert [answer.status_code for answer in answers] == [200, 200]
            assert site.stored(site.flow.test(file, 1)) == file.content
    assert site.count("on_complete") == 30


def test_no_lock_files_stay(site: Site) -> None:
    """When a file is finished, nothing but the file is left in the upload folder."""
    site.flow.send(sample())
    assert [path.name for path in site.server.folder.rglob("*") if path.is_file()] == [site.uploads()[0].id]


def test_nobody_sees_half_a_file(serve_folder: Serve) -> None:
    """While it is merged, the file is not there under its name yet."""
    seen: list[bool] = []

    def look(source: BinaryIO, target: BinaryIO) -> None:
        seen.extend(path.exists() for path in [site.server.folder / site.uploads()[0].id])
        shutil.copyfileobj(source, target)

    site = serve_folder(PRE_PROCESS_CALLBACK=look)
    answer = site.flow.send(sample())
    assert seen == [False, False]
    assert site.stored(answer) == sample().content


def test_a_merge_that_never_ran_is_made_up(serve_folder: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """All chunks are there, but their merge died: the next test merges them."""
    site = serve_folder()

    def die(*_: Any) -> None:
        raise RuntimeError("died")

    with monkeypatch.context() as fault:
        fault.setattr(ChunkFolder, "merge", die)
        site.flow.send(sample(), [1])
        assert site.flow.post(sample(), 2).status_code == 503
    assert site.stored(site.flow.test(sample(), 1)) == sample().content


def test_a_finished_file_is_remembered(serve_folder: Serve) -> None:
    """Its chunks are gone, but tests say 200 and a chunk sent again leaves no orphan."""
    site = serve_folder()
    site.flow.send(sample())
    files = site.files()
    assert site.flow.test(sample(), 1).status_code == 200
    assert site.flow.post(sample(), 1).status_code == 200
    assert site.files() == files


def test_missing_files_do_not_stop_the_cleaning(serve_folder: Serve) -> None:
    """Somebody has removed some of the chunks: the rest goes all the same."""
    site = serve_folder()
    file = sample(45)
    site.flow.send(file, [1, 2, 3])
    assert site.chunks is not None
    next(site.chunks.rglob("1.chunk")).unlink()
    site.server.clock.advance(days=2)
    site.server.cli("tus", "delete_expired")
    assert (site.files(), site.uploads()) == ([], [])


def test_a_lost_chunk_is_asked_for_again(serve_folder: Serve) -> None:
    """One is missing at the merge: 503, and tests say from where on to send again."""
    site = serve_folder()
    file = sample(45)
    site.flow.send(file, [1, 2, 3])
    assert site.chunks is not None
    next(site.chunks.rglob("2.chunk")).unlink()
    assert site.flow.post(file, 4).status_code == 503
    assert [site.flow.test(file, number).status_code for number in file.numbers] == [200, 204, 204, 204]
    assert site.stored(site.flow.send(file)) == file.content


def test_failures_leave_no_temporary_files(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large chunks of the wrong length or with a wrong checksum: nothing stays, here or in the system's folder."""
    monkeypatch.setattr("flask_resumable.storage.spool.SPOOL_SIZE", 64)
    file = sample(5000, 2500)
    before = set(os.listdir(tempfile.gettempdir()))
    assert site.flow.post(file, 1, b"x" * 2499).status_code == 400
    assert site.flow.post(file, 1, headers={"Upload-Checksum": "md5 AAAAAAAAAAAAAAAAAAAAAA=="}).status_code == 460
    assert site.files() == []
    assert {name for name in set(os.listdir(tempfile.gettempdir())) - before if "chunk" in name} == set()


def test_the_chunks_folder_may_be_on_another_disk(serve_plain: Serve, tmp_path: Path) -> None:
    """Nothing is renamed between the two."""
    elsewhere = tmp_path / "chunks"
    site = serve_plain(TEMP_DIR=str(elsewhere))
    file = sample()
    assert site.stored(site.flow.send(file)) == file.content
    assert elsewhere.is_dir() and not list(elsewhere.iterdir())


def test_no_chunk_looks_at_all_others(serve_folder: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is looked through once, at the merge."""
    looks: list[str] = []
    check = ChunkFolder.check

    def counted(self: ChunkFolder, upload: Upload) -> None:
        looks.append(upload.id)
        check(self, upload)

    monkeypatch.setattr(ChunkFolder, "check", counted)
    serve_folder().flow.send(sample(300))
    assert len(looks) == 1


def test_no_predictable_names_in_a_shared_folder(serve: Serve) -> None:
    """Chunks lie below random ids, in the upload folder if no other is named; the cleaner takes old ones away."""
    site = serve(DELETE_CHUNKS_ON_SAVE=False)
    site.flow.post(sample(), 1)
    folder = site.chunks or site.server.folder / ".chunks"
    assert [path.name for path in folder.iterdir()] == [site.uploads()[0].id]
    site.server.clock.advance(days=2)
    site.server.cli("tus", "delete_expired")
    assert list(folder.iterdir()) == []


def test_identifiers_belong_to_users(site: Site) -> None:
    """Nobody learns of, or adds to, another's chunks."""
    site.client(X_User="anna").post(sample(), 1)
    assert site.client(X_User="bert").test(sample(), 1).status_code == 204


def test_the_callback_gets_a_stream_of_its_own(serve_folder: Serve) -> None:
    """It reads one stream and writes another: reading cannot lose bytes."""

    def read_first(source: BinaryIO, target: BinaryIO) -> None:
        content = source.read()
        source.seek(0)
        target.write(content)

    answer_and_site = serve_folder(PRE_PROCESS_CALLBACK=read_first)
    assert answer_and_site.stored(answer_and_site.flow.send(sample())) == sample().content


def test_resumable_js_can_send_octets_with_put(serve: Serve) -> None:
    """Another client's spelling, octets and PUT work, next to a limit and to CORS settings."""
    site = serve(MAX_SIZE=100, CORS_ORIGINS=["https://a.example"])
    assert site.client("resumable").octet(sample(), 1, method="PUT").status_code == 200
    assert (site.count("on_create"), site.uploads()[0].status) == (1, Status.ACTIVE)
