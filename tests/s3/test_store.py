"""Reading back, links for browsers, and what the store says when something is set up wrong."""

from __future__ import annotations

import http.client
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from urllib.parse import urlsplit

import pytest

from flask_resumable.core.upload import Upload
from flask_resumable.errors import ConfigurationError
from flask_resumable.errors import TooLarge
from flask_resumable.errors import Unavailable
from flask_resumable.storage.s3 import S3Storage
from flask_resumable.storage.s3.store import region_of
from flask_resumable.testing.samples import an_upload
from flask_resumable.testing.storage import finish
from flask_resumable.testing.storage import put
from flask_resumable.testing.storage import read
from tests.ports import free_port

from .conftest import Server
from .conftest import Store
from .moto import Moto

MIB = 1024 * 1024
CONTENT = random.Random(9).randbytes(9 * MIB)


@pytest.fixture
def storage(store: Store) -> S3Storage:
    """On a bucket of its own."""
    return S3Storage(store.bucket, **store.options)


def _fetch(url: str) -> tuple[http.client.HTTPResponse, bytes]:
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=60)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer, answer.read()


@pytest.fixture
def done(storage: S3Storage) -> Upload:
    """A finished upload."""
    return finish(storage, put(storage, an_upload(length=len(CONTENT)), CONTENT))


def test_reading_fetches_only_what_is_asked_for(store: Store, done: Upload) -> None:
    """A jump and a few bytes cost one small request; reading on costs few large ones."""
    storage = S3Storage(store.bucket, **store.options)
    asked: list[str] = []
    storage._bucket.client.meta.events.register(
        "before-call.s3.GetObject", lambda params, **event: asked.append(params["headers"]["Range"])
    )
    with storage.open(done) as stream:
        assert stream.seekable() and stream.readable()
        assert stream.seek(-10, os.SEEK_END) == len(CONTENT) - 10
        assert stream.read(99) == CONTENT[-10:]
        stream.seek(3 * MIB)
        assert stream.read(5) == CONTENT[3 * MIB : 3 * MIB + 5]
        assert stream.seek(3, os.SEEK_CUR) == 3 * MIB + 8
        assert stream.read(5) == CONTENT[3 * MIB + 8 : 3 * MIB + 13]
        assert len(asked) == 2
        asked.clear()
        stream.seek(0)
        pieces = []
        while piece := stream.read(64 * 1024):
            pieces.append(piece)
        assert b"".join(pieces) == CONTENT
        assert len(asked) <= 8
        stream.seek(99 * MIB)
        assert stream.read(1) == b""
        with pytest.raises(ValueError):
            stream.seek(-1)


def test_an_object_that_is_gone_is_told(storage: S3Storage, store: Store, done: Upload) -> None:
    """Reading fails, and verify says what is missing, or too short."""
    (key,) = store.objects()
    store.client.put_object(Bucket=store.bucket, Key=key, Body=b"short")
    assert storage.verify(done) == [f"The object {key} has 5 bytes, not {len(CONTENT)}."]
    store.client.delete_object(Bucket=store.bucket, Key=key)
    assert storage.verify(done) == [f"The object {key} is missing."]
    with storage.open(done) as stream, pytest.raises(Unavailable):
        stream.read()


def test_unfinished_parts_cannot_be_read(storage: S3Storage) -> None:
    """The store gives out no parts; what is no part yet can be read."""
    upload = put(storage, an_upload(length=len(CONTENT)), CONTENT[:100])
    assert read(storage, upload) == CONTENT[:100]
    upload = put(storage, upload, CONTENT[100:], start=100)
    with pytest.raises(Unavailable):
        storage.open(upload)
    assert storage.path(upload) is None


def test_a_link_gives_out_the_file(storage: S3Storage, done: Upload) -> None:
    """Anybody can fetch it, under the name and the type that the app wants; nobody without the signature."""
    url = storage.presigned_url(
        done,
        expires=timedelta(minutes=1),
        filename='na"me\r\nX: 日本.txt',
        content_type="text/plain",
        disposition="attachment",
    )
    assert url is not None
    answer, content = _fetch(url)
    assert answer.status == 200
    assert content == CONTENT
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="na_me')
    assert "filename*=UTF-8''na%22me%0D%0AX%3A%20%E6%97%A5%E6%9C%AC.txt" in answer.headers["Content-Disposition"]
    unfinished = replace(done, storage={})
    assert (
        storage.presigned_url(unfinished, expires=timedelta(1), filename="a", content_type="a/b", disposition="inline")
        is None
    )


def test_links_have_a_signature_that_every_store_takes(storage: S3Storage, done: Upload, store: Store) -> None:
    """Version 4, for the region of the bucket. It expires as asked, and holds for this key and these headers only."""
    url = storage.presigned_url(
        done, expires=timedelta(minutes=1), filename="a", content_type="text/plain", disposition="inline"
    )
    assert url is not None
    said = dict(parse_qsl(urlsplit(url).query))
    assert said["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert said["X-Amz-Credential"].split("/")[2:] == ["us-east-1", "s3", "aws4_request"]
    assert said["X-Amz-Expires"] == "60"
    assert store.server.secret_key not in url
    assert not {"AWSAccessKeyId", "Signature", "Expires"} & {*said}


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        (None, None),
        ("https://s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3.dualstack.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("https://s3.amazonaws.com", "us-east-1"),
        ("https://s3-accelerate.amazonaws.com", "us-east-1"),
        ("https://s3.us-west-004.backblazeb2.com", "us-west-004"),
        ("https://0123456789abcdef.r2.cloudflarestorage.com", "auto"),
        ("https://0123456789abcdef.eu.r2.cloudflarestorage.com", "auto"),
        ("https://s3.fr-par.scw.cloud", "fr-par"),
        ("https://fra1.digitaloceanspaces.com", "fra1"),
        ("http://minio.eu-west-1.example.org:9000", "us-east-1"),
        ("http://127.0.0.1:9000", "us-east-1"),
    ],
)
def test_the_region_is_in_the_name_of_the_endpoint(endpoint: str | None, region: str | None) -> None:
    """Where providers put it there. A setting comes first, and other stores have no regions."""
    assert region_of(endpoint) == region
    if endpoint is not None:
        for given in (None, "eu-north-1"):
            kind = S3Storage("b", endpoint_url=endpoint, region=given, access_key="a", secret_key="s")
            assert kind._bucket.client.meta.region_name == (given or region)


def test_the_region_of_a_bucket_is_asked_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """At Amazon, if nobody says where the bucket is: for a link, unlike for requests, nobody corrects the region."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"test-{secrets.token_hex(8)}"
    storage = S3Storage(bucket, access_key=server.access_key, secret_key=server.secret_key)
    client = storage._bucket.client
    try:
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    except client.exceptions.ClientError:
        pytest.skip("This store has no regions.")
    done = finish(storage, put(storage, an_upload(length=5), b"hello"))
    url = storage.presigned_url(
        done, expires=timedelta(minutes=1), filename="a", content_type="text/plain", disposition="inline"
    )
    assert url is not None
    assert "/eu-west-1/s3/" in dict(parse_qsl(urlsplit(url).query))["X-Amz-Credential"]
    assert _fetch(url)[1] == b"hello"


def test_the_largest_object_is_the_limit(storage: S3Storage) -> None:
    """An upload that the store cannot hold is refused."""
    with pytest.raises(TooLarge), storage.writer(an_upload(length=5 * 1024**4 + 1), 0, 1):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bucket": ""}, "bucket"),
        ({"part_size": 1}, "part_size"),
        ({"access_key": "only"}, "secret_key"),
        ({"prefix": "/x"}, "prefix"),
    ],
)
def test_wrong_arguments_are_told_by_name(changes: dict[str, Any], message: str) -> None:
    """Without asking the store."""
    with pytest.raises(ConfigurationError, match=message):
        S3Storage(**{"bucket": "a-bucket", **changes})


# --- wrong set-ups ---


@pytest.fixture(scope="module")
def strict_server(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store that checks keys."""
    if not isinstance(server, Moto):
        yield server
        return
    strict = Moto(tmp_path_factory.mktemp("strict"), strict=True)
    strict.start()
    yield strict
    strict.kill()


def _check(server: Server, **changes: Any) -> None:
    options = {"endpoint_url": server.url, "access_key": server.access_key, "secret_key": server.secret_key}
    bucket = changes.pop("bucket", "test-nowhere")
    S3Storage(bucket, **{**options, **changes}).check_access()


def test_access_is_checked(storage: S3Storage, store: Store) -> None:
    """Where all is right nothing is said, and nothing is left."""
    storage.check_access()
    assert store.kept() == set()
    assert {result.level for result in storage.check(datetime.now(UTC), quick=False)} == {"ok"}


def test_the_clock_of_the_store_is_compared(storage: S3Storage, store: Store) -> None:
    """The store says its time with each response."""
    codes = {r.name: r.code for r in storage.check(datetime.now(UTC) - timedelta(minutes=1), quick=True)}
    assert codes == {"bucket": None, "bucket clock": "clock_differs"}


def test_a_missing_bucket_is_told(server: Server) -> None:
    """With what to do."""
    with pytest.raises(ConfigurationError, match="NoSuchBucket.*create it"):
        _check(server)


def test_wrong_keys_are_told(strict_server: Server) -> None:
    """An access key that nobody knows, and a secret key that does not fit."""
    with pytest.raises(ConfigurationError, match="(InvalidAccessKeyId|XAdminUserNotFound).*access key"):
        _check(strict_server, access_key="nobody", secret_key="knows")


def test_a_wrong_secret_is_told(server: Server, store: Store) -> None:
    """The key is known, but the secret is another's."""
    if isinstance(server, Moto):
        pytest.skip("moto knows no users with keys of their own at its start")
    with pytest.raises(ConfigurationError, match="SignatureDoesNotMatch.*secret key"):
        _check(server, bucket=store.bucket, secret_key="wrong")


def test_an_unknown_host_is_told() -> None:
    """A typing error in the endpoint."""
    storage = S3Storage("bucket", endpoint_url="http://s3.invalid", access_key="a", secret_key="b")
    with pytest.raises(ConfigurationError, match="endpoint_url"):
        storage.check_access()
    with pytest.raises(ConfigurationError, match="endpoint_url"):
        S3Storage("bucket", endpoint_url="s3.example.org", access_key="a", secret_key="b").check_access()


def test_a_store_that_does_not_answer_is_unavailable() -> None:
    """That may pass by itself, so it is no wrong configuration, neither at start nor later."""
    url = f"http://127.0.0.1:{free_port()}"
    storage = S3Storage("bucket", endpoint_url=url, access_key="a", secret_key="b")
    with pytest.raises(Unavailable):
        storage.check_access()
    (result,) = storage.check(datetime.now(UTC), quick=True)
    assert (result.name, result.level) == ("bucket", "error")
    assert url not in result.message
    with pytest.raises(Unavailable):
        storage.finish(an_upload(length=0), 1)


def test_without_boto3_the_extra_is_named(tmp_path: Path) -> None:
    """Who has not installed it learns how."""
    (tmp_path / "boto3.py").write_text("raise ImportError")
    script = "from flask_resumable.storage.s3 import S3Storage"
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).resolve().parents[2]}"}
    result = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True)
    assert 'pip install "Flask-Resumable[s3]"' in result.stderr


# --- processes ---


def _size(storage: S3Storage, upload: Upload, answer: Any) -> None:
    with storage.open(upload) as stream:
        answer.send((len(stream.read()), id(storage._bucket.client)))


def test_a_process_that_is_forked_has_a_client_of_its_own(storage: S3Storage, done: Upload) -> None:
    """Connections are not shared: gunicorn may load the app before it forks."""
    with storage.open(done) as stream:
        assert len(stream.read()) == len(CONTENT)
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_size, args=(storage, done, sender))
    process.start()
    size, client = receiver.recv()
    process.join()
    assert size == len(CONTENT)
    assert client != id(storage._bucket.client)


def _first_chunk(options: dict[str, Any], bucket: str, number: int, ready: Any) -> None:
    storage = S3Storage(bucket, **options)
    upload = an_upload(length=20 * MIB, storage=storage.layout(5 * MIB, 4))
    with storage.spool() as spool:
        spool.write(bytes([number]) * (5 * MIB))
        spool.seek(0)
        ready.wait()
        with storage.placing(upload, number, (number - 1) * 5 * MIB) as slot:
            slot.fill(spool)


def test_first_chunks_agree_on_one_multipart_upload(store: Store, storage: S3Storage) -> None:
    """Four processes get a chunk each of an upload that nobody has begun."""
    context = get_context("spawn")
    for _ in range(3):
        ready = context.Barrier(4)
        processes = [
            context.Process(target=_first_chunk, args=(store.options, store.bucket, number, ready))
            for number in range(1, 5)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            assert process.exitcode == 0
        assert len(store.multiparts()) == 1
        upload = an_upload(length=20 * MIB, storage=storage.layout(5 * MIB, 4))
        done = finish(storage, upload)
        assert read(storage, done) == b"".join(bytes([number]) * (5 * MIB) for number in range(1, 5))
        storage.delete(done)
        assert store.kept() == set()


def test_chunks_that_the_store_lost_are_asked_for_again(store: Store, storage: S3Storage) -> None:
    """The multipart upload is gone: chunks that come begin a new one, and the others are missed at the end."""
    upload = an_upload(length=10 * MIB, storage=storage.layout(5 * MIB, 2))

    def place(number: int) -> None:
        with storage.spool() as spool:
            spool.write(bytes([number]) * (5 * MIB))
            spool.seek(0)
            with storage.placing(upload, number, (number - 1) * 5 * MIB) as slot:
                slot.fill(spool)

    place(1)
    ((multipart, key),) = store.multiparts().items()
    store.client.abort_multipart_upload(Bucket=store.bucket, Key=key, UploadId=multipart)
    place(2)
    seen = replace(upload, received=upload.received.add(0, 10 * MIB))
    assert storage.verify(seen) == [f"Part 1 of {key}, a chunk, is missing."]
    place(1)
    assert storage.verify(seen) == []
    assert len(read(storage, finish(storage, upload))) == 10 * MIB
