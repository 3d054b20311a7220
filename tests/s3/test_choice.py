"""A disk and a bucket side by side: each upload has one of them, whatever is done with it."""

from __future__ import annotations

import threading
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable.service.verify import Findings
from flask_resumable.service.verify import Verifier
from flask_resumable.storage.local import LocalStorage
from flask_resumable.storage.s3 import S3Storage
from tests.conformance.tus_client import final
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import PARTIAL
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample
from tests.s3.conftest import Store

FAR = {"Upload-Metadata": metadata(filename="far")}
MIB = 1024 * 1024


class Uploads(FlaskResumable):
    """What is called ``far`` goes to the bucket, and everything to a tenant's folder."""

    def choose_storage(self, upload: Any) -> str | None:
        return "bucket" if upload.filename == "far" else None

    def choose_folder(self, upload: Any) -> str | None:
        return "tenant-7"


class Site:
    """An app with both, and what is in them."""

    def __init__(self, app: Flask, store: Store, home: Path) -> None:
        self.app = app
        self.home = home
        self.store = store
        self.now = datetime.now(UTC)
        bucket = S3Storage(store.bucket, **store.options)
        app.config["RESUMABLE_DOWNLOADS"] = True
        Uploads(app, storage={"disk": LocalStorage(home / "disk"), "bucket": bucket}, now=lambda: self.now)
        self.state = app.extensions["resumable"]
        self.tus = Tus(app.test_client())
        self.flow = Flow(app.test_client())

    def disk(self) -> dict[str, bytes]:
        """All files, but for fences."""
        found = (path for path in (self.home / "disk").rglob("*") if path.is_file() and path.suffix != ".lock")
        return {str(path.relative_to(self.home / "disk")): path.read_bytes() for path in found}

    def objects(self) -> dict[str, bytes]:
        """All objects."""
        return {key: self.store.content(key) for key in self.store.objects()}

    def run(self, *arguments: str) -> Any:
        return self.app.test_cli_runner().invoke(args=["tus", *arguments])


@pytest.fixture
def site(app: Flask, store: Store, tmp_path: Path) -> Site:
    return Site(app, store, tmp_path)


def id_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_each_upload_has_its_own(site: Site) -> None:
    """Written in several requests, read in ranges, verified and removed: on the disk or in the bucket."""
    urls = [site.tus.new(10, FAR), site.tus.new(10)]
    for url in urls:
        assert site.tus.patch(url, 0, b"01234").status_code == 204
    for url in urls:
        assert site.tus.patch(url, 5, b"56789").status_code == 204
    far, near = urls
    assert site.objects() == {f"up/tenant-7/{id_of(far)}": b"0123456789"}
    assert site.disk() == {f"tenant-7/{id_of(near)}": b"0123456789"}
    assert [site.tus.get(url, {"Range": "bytes=2-4"}).data for url in urls] == [b"234", b"234"]
    assert site.run("verify").output.startswith("Uploads verified: 2, damaged: 0")
    assert [site.tus.delete(url).status_code for url in urls] == [204, 204]
    assert (site.store.kept(), site.disk()) == (set(), {})


@pytest.mark.parametrize("size", [30, 3 * 5 * MIB + 7], ids=["small", "parts"])
@pytest.mark.parametrize("name", ["near", "far"])
def test_chunks_find_their_way(site: Site, name: str, size: int) -> None:
    """flow.js's chunks, in any order, of sizes that a bucket takes as parts and of others."""
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    sample = Sample(content, chunk=10 if size == 30 else 5 * MIB, name=name)
    answer = site.flow.send(sample, [*reversed(sample.numbers)])
    stored = {f"tenant-7/{answer.json['id']}": content}  # type: ignore[index]
    assert site.disk() == (stored if name == "near" else {})
    assert site.objects() == ({f"up/{key}": value for key, value in stored.items()} if name == "far" else {})


@pytest.mark.parametrize("target", [{}, FAR], ids=["to the disk", "to the bucket"])
def test_parts_of_both_become_one(site: Site, target: dict[str, str | None]) -> None:
    """A final upload is made of parts that lie elsewhere; some too small for a bucket, one larger than its parts."""
    contents = [b"small", bytes(range(256)) * (9 * MIB // 256), b"", b"end"]
    parts = [
        site.tus.upload(content, {**PARTIAL, **(FAR if number % 2 else {})}) for number, content in enumerate(contents)
    ]
    whole = site.tus.new(headers={**final(*parts), **target})
    assert site.tus.get(whole).data == b"".join(contents)
    assert (f"up/tenant-7/{id_of(whole)}" in site.objects()) == bool(target)
    assert site.run("verify").output.startswith("Uploads verified: 5, damaged: 0")


def test_a_failed_transfer_is_taken_up_again(site: Site) -> None:
    """What was sent to the bucket before a part turned out to be damaged is neither in the file nor left behind."""
    contents = [bytes(range(256)) * (12 * MIB // 256), b"tail"]
    parts = [site.tus.upload(content, PARTIAL) for content in contents]
    damaged = site.home / "disk" / ".partial" / f"{id_of(parts[1])}.part"
    damaged.write_bytes(b"ta")
    assert site.tus.create(headers={**final(*parts), **FAR}).status_code == 503
    whole = site.run("list", "--status", "active").output.split()[0]
    damaged.write_bytes(b"tail")
    assert site.run("complete_pending").exit_code == 0
    assert site.store.kept() == {f"up/tenant-7/{whole}"}
    assert site.store.content(f"up/tenant-7/{whole}") == b"".join(contents)


def test_cleaning_covers_both(site: Site) -> None:
    """What has expired goes, and what no record knows, from the disk and from the bucket."""
    content = bytes(6 * MIB)
    urls = [site.tus.new(9 * MIB, headers) for headers in (None, FAR, None, FAR)]
    for url in urls:
        assert site.tus.patch(url, 0, content).status_code == 204
    for url in urls[2:]:
        upload, claim = site.state.repository.claim(id_of(url), now=site.now, until=site.now)
        site.state.repository.remove(upload, claim)
    site.now += timedelta(days=2)
    result = site.run("delete_expired", "--orphans-after", "1")
    assert (result.exit_code, result.output.split(", bytes")[0]) == (0, "Uploads removed: 2, orphans removed: 2")
    assert (site.store.kept(), site.disk()) == (set(), {})


def test_live_traffic_is_never_damage(site: Site) -> None:
    """While uploads come, are finished and removed in both, verification finds nothing wrong with them."""
    over = threading.Event()
    failures: list[BaseException] = []

    def traffic() -> None:
        try:
            tus, flow = Tus(site.app.test_client()), Flow(site.app.test_client())
            for number in range(20):
                url = tus.new(10, FAR if number % 2 else None)
                assert tus.patch(url, 0, b"01234").status_code == 204
                assert tus.patch(url, 5, b"56789").status_code == 204
                flow.send(Sample(bytes(30), name="far" if number % 2 else "near", identifier=str(number)))
                if number % 4 < 2:
                    assert tus.delete(url).status_code == 204
        except BaseException as error:
            failures.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=traffic)
    thread.start()
    with site.app.app_context():
        while True:
            is_last = over.is_set()
            findings = Findings()
            verifier = Verifier(site.state.service, site.state.storage, findings, batch=7)
            assert [problem for _, found in verifier.run(orphans_after=timedelta(hours=1)) for problem in found] == []
            assert findings.failed == []
            if is_last:
                break
    thread.join()
    assert failures == []
    assert (findings.verified, findings.busy, findings.orphans) == (30, 0, 0)


def test_what_the_bucket_has_lost_is_told(site: Site) -> None:
    """To the client by 503 before the first byte, and to the operator by name."""
    url = site.tus.upload(b"0123456789", FAR)
    key = f"up/tenant-7/{id_of(url)}"
    site.store.client.delete_object(Bucket=site.store.bucket, Key=key)
    assert site.tus.get(url).status_code == 503
    result = site.run("verify")
    assert (result.exit_code, result.output.splitlines()[0]) == (1, f"{id_of(url)}  The object {key} is missing.")


def test_it_can_be_seen_where_an_upload_is(site: Site, store: Store) -> None:
    """``flask tus show`` has the place, and no secret."""
    shown = site.run("show", id_of(site.tus.upload(b"abc", FAR))).output
    assert '"path": null' in shown and '"storage": "bucket"' in shown and '"folder": "tenant-7"' in shown
    assert store.server.secret_key not in shown
