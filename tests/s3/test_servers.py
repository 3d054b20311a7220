"""Two gunicorns on one bucket and one database: what one has begun, the other goes on with."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.flow.client import Sample
from tests.flow.socket_client import octet
from tests.live.dialects import clients
from tests.live.dialects import delete
from tests.live.dialects import Dialects
from tests.live.dialects import in_dialects
from tests.live.journal import PATIENCE
from tests.live.servers import id_of
from tests.live.servers import Server

from .ceph import Ceph
from .conftest import Store
from .proxy import Proxy

MIB = 1024 * 1024
PART = 5 * MIB
CONTENT = random.Random(8).randbytes(23 * MIB + 12345)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

pytestmark = pytest.mark.live

Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path, store: Store) -> Iterator[Serve]:
    """Servers of the test's own, all on one bucket and one database."""
    own: list[Server] = []

    def start(kind: str = "gthread", **settings: object) -> Server:
        wiring = {
            "STORAGE": "s3",
            "S3_BUCKET": store.bucket,
            "S3_PREFIX": store.prefix,
            "S3_ENDPOINT_URL": store.server.url,
            "S3_ACCESS_KEY": store.server.access_key,
            "S3_SECRET_KEY": store.server.secret_key,
            "S3_PART_SIZE": PART,
        }
        own.append(Server(kind, tmp_path, {**wiring, **settings}))
        own[-1].start()
        return own[-1]

    yield start
    for server in own:
        server.stop()


def _target(store: Store, path: str) -> str:
    return store.prefix + id_of(path)


def _parts_of(store: Store, path: str) -> list[int]:
    """The sizes of the parts that the store has of an unfinished upload."""
    sizes = []
    for multipart, key in store.multiparts().items():
        if key == _target(store, path):
            parts = store.client.list_parts(Bucket=store.bucket, Key=key, UploadId=multipart).get("Parts", ())
            sizes += [part["Size"] for part in parts]
    return sizes


def _wait_for_parts(store: Store, path: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(_parts_of(store, path)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@in_dialects
@pytest.mark.parametrize("kind", ["gthread", "gevent", "sync"])
def test_requests_may_go_to_any_machine(serve: Serve, store: Store, kind: str, dialects: Dialects) -> None:
    """Each request of an upload goes to the other machine; every byte gets there, and on_complete is called once."""
    machines = [serve(kind), serve(kind)]
    sender, watcher = clients(dialects, *(machine.port for machine in machines))
    path = sender.create(len(CONTENT))
    offset = 0
    for size in (1000, 3 * MIB, 6 * MIB, 100, 7 * MIB, len(CONTENT)):
        body = CONTENT[offset : offset + size]
        offset += len(body)
        answer = sender.append(path, offset - len(body), body, is_last=offset == len(CONTENT))
        assert answer.status // 100 == 2
        assert watcher.offset(path) == offset
        sender, watcher = watcher, sender
    assert offset == len(CONTENT)
    assert machines[0].receipts(path) == [SHA256]
    assert store.kept() == {_target(store, path)}
    assert store.content(_target(store, path)) == CONTENT


@in_dialects
def test_a_killed_machine_costs_no_byte_that_was_told(serve: Serve, store: Store, dialects: Dialects) -> None:
    """kill -9 in the middle of a part: the client goes on with the other machine from an offset that holds."""
    first, second = serve(), serve()
    client, other = clients(dialects, first.port, second.port)
    path = client.create(len(CONTENT))
    with client.connect() as connection:
        client.start_append(connection, path, 0, len(CONTENT))
        connection.send(CONTENT[: 13 * MIB])
        _wait_for_parts(store, path, 2)
        first.stop()
    offset = other.offset(path)
    assert offset <= 13 * MIB
    other.resume(path, CONTENT)
    assert second.receipts(path) == [SHA256]
    assert store.kept() == {_target(store, path)}
    assert store.content(_target(store, path)) == CONTENT


@in_dialects
def test_a_newer_request_takes_over_from_a_machine_that_hangs(serve: Serve, store: Store, dialects: Dialects) -> None:
    """The old request goes on sending, and learns that it is no longer wanted; nothing of it gets into the file."""
    first, second = serve(), serve()
    client, other = clients(dialects, first.port, second.port)
    path = client.create(len(CONTENT))
    with client.connect() as old:
        client.start_append(old, path, 0, len(CONTENT))
        old.send(CONTENT[: 11 * MIB])
        _wait_for_parts(store, path, 2)
        other.resume(path, CONTENT)
        with suppress(ConnectionError):
            old.send(b"!" * (10 * MIB))
    first.journal.wait_for("end PATCH", id_of(path), count=2)
    assert second.receipts(path) == [SHA256]
    assert store.kept() == {_target(store, path)}
    assert store.content(_target(store, path)) == CONTENT


def test_a_cut_connection_keeps_what_came(serve: Serve, store: Store) -> None:
    """All that was received counts, even what does not fill a part."""
    server = serve()
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[: 6 * MIB + 77])
        connection.until_delivered()
    server.journal.wait_for("end PATCH", id_of(path))
    assert server.tus.offset(path) == 6 * MIB + 77
    server.tus.resume(path, CONTENT)
    assert store.content(_target(store, path)) == CONTENT


@pytest.fixture
def proxy(store: Store) -> Iterator[Proxy]:
    """What the servers take for the store."""
    proxy = Proxy(store.server.port)
    yield proxy
    proxy.close()


def test_a_store_that_is_down_costs_a_while(serve: Serve, store: Store, proxy: Proxy) -> None:
    """Requests are answered with 503, the upload stays as it was told, and goes on when the store is back."""
    server = serve(S3_ENDPOINT_URL=proxy.url)
    path = server.tus.create(len(CONTENT), body=CONTENT[: 7 * MIB])
    proxy.is_open = False
    more = CONTENT[7 * MIB :][: 3 * MIB + 100_000]  # no more than the kernel takes while nobody reads
    assert server.tus.patch(path, 7 * MIB, more).status == 503
    assert proxy.refused
    assert server.tus.offset(path) == 7 * MIB
    proxy.is_open = True
    server.tus.resume(path, CONTENT)
    assert server.receipts(path) == [SHA256]
    assert store.kept() == {_target(store, path)}
    proxy.is_open = False
    assert server.tus.request("DELETE", path).status == 503
    proxy.is_open = True
    server.flask("tus", "delete_expired", ahead=100)
    assert store.kept() == set()


def test_a_store_that_is_down_at_the_end_is_asked_again(serve: Serve, store: Store, proxy: Proxy) -> None:
    """All bytes are there, but the object could not be made: the next request makes it."""
    server = serve(S3_ENDPOINT_URL=proxy.url)
    server.order("post_save", "sleep 3")
    path = server.tus.create(len(CONTENT))
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(server.tus.patch, path, 0, CONTENT)
        server.journal.wait_for("post_save", id_of(path))
        proxy.is_open = False
        assert answer.result().status == 503
    proxy.is_open = True
    assert server.tus.offset(path) == len(CONTENT)
    assert server.receipts(path) == [SHA256]
    assert store.kept() == {_target(store, path)}


def test_a_store_that_is_busy_is_asked_again(serve: Serve, store: Store, proxy: Proxy) -> None:
    """A few answers to slow down are not noticed by the client."""
    server = serve(S3_ENDPOINT_URL=proxy.url)
    path = server.tus.create(len(CONTENT))
    proxy.throttled = 3
    server.tus.resume(path, CONTENT)
    assert proxy.refused == 3
    assert server.receipts(path) == [SHA256]
    assert store.content(_target(store, path)) == CONTENT


def test_a_gateway_that_is_killed_in_the_middle_costs_no_byte(serve: Serve, store: Store) -> None:
    """kill -9 of the store's front, restart: parts that it had confirmed are there."""
    if not isinstance(store.server, Ceph):
        pytest.skip("moto keeps nothing over a restart")
    server = serve()
    path = server.tus.create(len(CONTENT))
    with ThreadPoolExecutor(1) as clients:
        with server.tus.connect() as connection:
            connection.start_patch(path, 0, {"Content-Length": len(CONTENT)}, body=CONTENT[: 12 * MIB])
            _wait_for_parts(store, path, 1)
            store.server.kill_gateway()
            sending = clients.submit(connection.send, CONTENT[12 * MIB :])
            store.server.start_gateway()
            with suppress(ConnectionError):
                sending.result()
            with suppress(ConnectionError):
                connection.answer("PATCH")
    if server.tus.offset(path) < len(CONTENT):
        server.tus.resume(path, CONTENT)
    assert server.receipts(path) == [SHA256]
    assert store.content(_target(store, path)) == CONTENT
    assert store.kept() == {_target(store, path)}


@pytest.mark.parametrize("chunk", [5 * MIB, MIB])
def test_chunks_may_go_to_any_machine_at_once(serve: Serve, store: Store, chunk: int) -> None:
    """flow.js sends chunks side by side, the first ones to two machines that both have to begin."""
    machines = [serve("gthread2"), serve("gthread2")]
    sample = Sample(CONTENT, chunk=chunk)
    numbers = list(sample.numbers)
    random.Random(1).shuffle(numbers)

    def send(number: int) -> int:
        with machines[number % 2].tus.connect() as connection:
            return octet(connection, sample, number).status

    with ThreadPoolExecutor(4) as clients:
        assert set(clients.map(send, [*numbers, numbers[0]])) == {200}
    (key,) = store.kept()
    assert store.content(key) == CONTENT
    assert machines[0].query("SELECT sha256 FROM receipt") == [(SHA256,)]


def test_the_cleaner_leaves_nothing(serve: Serve, store: Store) -> None:
    """Expired uploads go with all that belongs to them, and so does what has no record; strangers and files stay."""
    server = serve(EXPIRATION=3600)
    store.client.put_object(Bucket=store.bucket, Key=f"{store.prefix}mine.txt", Body=b"mine")
    store.client.create_multipart_upload(Bucket=store.bucket, Key="another/file")
    done = server.tus.create(len(CONTENT), body=CONTENT)
    for size in (0, 100, 12 * MIB):
        server.tus.create(len(CONTENT), body=CONTENT[:size])
    sample = Sample(CONTENT, chunk=PART)
    with server.tus.connect() as connection:
        assert octet(connection, sample, 2).status == 200
    lost = f"{store.prefix}{'e' * 32}"
    store.client.create_multipart_upload(Bucket=store.bucket, Key=lost)
    store.client.put_object(Bucket=store.bucket, Key=f"{store.prefix}.partial/{'d' * 32}/tail-1-abc", Body=b"old")
    result = server.flask("tus", "delete_expired", ahead=100_000)
    assert result.returncode == 0, result.stderr
    assert store.objects() == {_target(store, done), f"{store.prefix}mine.txt"}
    assert list(store.multiparts().values()) == ["another/file"]


@in_dialects
def test_removing_an_upload_in_the_middle_leaves_nothing(serve: Serve, store: Store, dialects: Dialects) -> None:
    """DELETE, while another request is sending: the multipart upload is aborted, and nothing comes back."""
    server = serve()
    client, other = clients(dialects, server.port, serve().port)
    path = client.create(len(CONTENT))
    with client.connect() as old:
        client.start_append(old, path, 0, len(CONTENT))
        old.send(CONTENT[: 11 * MIB])
        _wait_for_parts(store, path, 1)
        assert delete(other, path) == 204
        with suppress(ConnectionError):
            old.send(b"!" * (10 * MIB))
    server.journal.wait_for("end PATCH", id_of(path))
    assert server.tus.head(path).status in (404, 410)
    assert store.kept() == set()
