"""The rounds: what a client does when the server is killed, and what must be true after that.

Each round makes its uploads, does one act in which the kill falls, asks again at once, goes on to the end as a client
does, and compares what it was told, what it finds and what the hooks have written.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urljoin

from flask_resumable.wsgi.pipes import PIPE_SIZES
from tests.flow.client import Sample
from tests.flow.socket_client import address
from tests.flow.socket_client import octet
from tests.flow.socket_client import post
from tests.live.ietf import Ietf
from tests.live.ietf import VERSIONS
from tests.live.raw import Answer
from tests.live.raw import Connection
from tests.live.raw import OCTETS
from tests.live.servers import id_of

from .world import BUSY
from .world import DAYS
from .world import Lost
from .world import World

# The most that a process has written but not noted when it is killed between the two, in bytes: what one call takes
# from a pipe, which is rarely more than 64 KiB while a client sends.
PIPE, BLOCK = PIPE_SIZES[0], 64 * 1024
RARELY = 2, 200  # so many times, and once more for so many kills
_PIECES = 6  # in which a client sends its content
_CONNECTIONS = 3  # of a flow.js client

Round = Callable[[World, random.Random], None]


def creating(world: World, chance: random.Random) -> None:
    """tus: a creation, with an idempotency key or without, with content or without; on_create may be slow."""
    kind = chance.choice(("quick", "slow create"))
    content = chance.randbytes(chance.choice((1, 3000, 60_000)))
    has_key, has_content = chance.random() < 0.7, chance.random() < 0.5
    headers: dict[str, str | int] = {"Upload-Length": len(content), "Upload-Metadata": named(kind)}
    if has_key:
        headers["Idempotency-Key"] = f'"{chance.randbytes(8).hex()}"'
    if has_content:
        headers["Content-Type"] = OCTETS
    body = content if has_content else b""
    name = f"creating, {kind}" if not has_content else f"creating with content, {kind}"
    told, before, left = None, set(world.all_rows("made")), set(unsettled(world))
    with world.killing(name, chance):
        told = world.server.tus.request("POST", "/files/", headers, body)
        check(told, 201)
    if not has_key and told is None:
        world.note_state(None)
    answer = world.through(name, lambda: world.server.tus.request("POST", "/files/", headers, body))
    check(answer, 201)
    path = urljoin("/files/", answer.headers["location"])
    if has_key and told is not None:
        equal(answer.headers["location"], told.headers["location"], "a repeated creation made a second upload")
    if has_key:
        made = set(world.all_rows("made")) - before
        equal(made, {id_of(path)}, "the uploads for which on_create has written rows")
    finish(world, path, content)
    if has_key and told is None:
        equal(set(unsettled(world)) - left, set(), "other uploads that a repeated creation left")


def receiving(world: World, chance: random.Random) -> None:
    """tus: an upload whose content is coming in."""
    content = chance.randbytes(chance.choice((20_000, 200_000, 500_000)))
    tus = world.server.tus
    path = tus.create(len(content), {"Upload-Metadata": named("quick")})
    known = 0
    for _ in range(chance.choice((1, 1, 2))):
        with world.killing("receiving", chance), tus.connect() as connection:
            connection.start_patch(path, known, {"Content-Length": len(content) - known})
            send_slowly(connection, content[known:], chance)
            check(connection.answer("PATCH"), 204)
        if chance.random() < 0.3:
            world.note_state(id_of(path))
        answer = world.through("receiving", lambda: tus.head(path))
        known = keeps(world, path, content, known, answer)
        if known == len(content):
            break
    finish(world, path, content, known)


def checking(world: World, chance: random.Random) -> None:
    """tus: content with a checksum counts as a whole or not at all."""
    content = chance.randbytes(chance.choice((20_000, 200_000)))
    tus = world.server.tus
    path = tus.create(len(content), {"Upload-Metadata": named("quick")})
    checksum = base64.b64encode(hashlib.sha1(content).digest()).decode()
    answered = None
    with world.killing("checking", chance), tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(content), "Upload-Checksum": f"sha1 {checksum}"})
        send_slowly(connection, content, chance)
        answered = check(connection.answer("PATCH"), 204)
    answer = check(world.through("checking", lambda: tus.head(path)), 200)
    if answer.offset not in ((0, len(content)) if answered is None else (len(content),)):
        raise Lost(f"{answer.offset} of {len(content)} bytes count, which have one checksum")
    finish(world, path, content, answer.offset)


def finishing(world: World, chance: random.Random) -> None:
    """tus: the last bytes, and on_complete, which may be slow; sometimes complete_pending comes first."""
    kind = chance.choice(("quick", "slow complete", "slow complete"))
    content = chance.randbytes(chance.choice((1, 30_000)))
    tus = world.server.tus
    path = tus.create(len(content), {"Upload-Metadata": named(kind)})
    with world.killing(f"finishing, {kind}", chance):
        check(tus.patch(path, 0, content), 204)
    if chance.random() < 0.3:
        world.note_state(id_of(path))
    if world.was_killed and chance.random() < 0.2:
        pending(world, chance)
        world.was_killed = False  # what took how long is not the request's doing
    answer = check(world.through(f"finishing, {kind}", lambda: tus.head(path)), 200)
    finish(world, path, content, keeps(world, path, content, 0, answer))


def pending(world: World, chance: random.Random) -> None:
    """``flask tus complete_pending``, which is killed, and is run again."""
    pid = world.commands.start(["complete_pending"])
    time.sleep(chance.uniform(0, 0.06))
    kill_command(world, pid)
    world.command("complete_pending")


def concatenating(world: World, chance: random.Random) -> None:
    """tus: a final upload of two or three parts, created before or after the last of them is complete."""
    tus, kind = world.server.tus, chance.choice(("quick", "slow complete"))
    parts = [chance.randbytes(chance.choice((1, 5000, 90_000))) for _ in range(chance.choice((2, 3)))]
    paths = [tus.create(len(part), {"Upload-Concat": "partial"}) for part in parts]
    content = b"".join(parts)
    headers = {"Upload-Concat": "final;" + " ".join(paths), "Upload-Metadata": named(kind)}
    is_early = chance.random() < 0.5
    for part_path, part in zip(paths[: -1 if is_early else None], parts, strict=False):
        check(tus.patch(part_path, 0, part), 204)

    def create() -> Answer:
        return tus.request("POST", "/files/", headers)

    if is_early:
        final = check(create(), 201)
        with world.killing("concatenating, last part", chance):
            check(tus.patch(paths[-1], 0, parts[-1]), 204)
        answer = check(world.through("concatenating, last part", lambda: tus.head(paths[-1])), 200)
        if answer.offset < len(parts[-1]):
            check(tus.patch(paths[-1], answer.offset, parts[-1][answer.offset :]), 204)
        equal(check(create(), 201).headers["location"], final.headers["location"], "a second final upload was made")
    else:
        told = None
        with world.killing("concatenating", chance):
            told = check(create(), 201)
        final = check(world.through("concatenating", create), 201)
        if told is not None:
            equal(final.headers["location"], told.headers["location"], "a second final upload was made")
    path = urljoin("/files/", final.headers["location"])
    for _ in range(500):
        if tus.head(path).headers.get("upload-offset") == str(len(content)):
            break
    is_complete(world, path, content)
    for part_path in paths:
        equal(world.rows("receipt", id_of(part_path)), [], "on_complete was called for a part")


def deleting(world: World, chance: random.Random) -> None:
    """tus: the removal of an upload that is empty, begun or complete."""
    content = chance.randbytes(30_000)
    tus = world.server.tus
    sent = chance.choice((0, 10_000, 30_000))
    path = tus.create(len(content), {"Upload-Metadata": named("quick")})
    if sent:
        check(tus.patch(path, 0, content[:sent]), 204)
    answered = None
    with world.killing("deleting", chance):
        answered = check(tus.request("DELETE", path), 204)
    if chance.random() < 0.3:
        world.note_state(id_of(path))
    answer = world.through("deleting", lambda: tus.request("DELETE", path))
    check(answer, 404) if answered is not None else check(answer, 204, 404)
    check(tus.head(path), 404)
    clean_up(world, id_of(path))
    is_gone(world, id_of(path))


def clean_up(world: World, upload_id: str) -> None:
    """Let the cleaner remove the rest of an upload of which clients see nothing any more, if it is still there."""
    if world.records().get(upload_id) == "deleting":
        with world.seen.lock:
            world.seen.left += 1
        world.command("delete_expired")


def cleaning(world: World, chance: random.Random) -> None:
    """``flask tus delete_expired``, killed and run again, with uploads of every state before it."""
    tus, content = world.server.tus, chance.randbytes(20_000)
    done, begun, empty = (tus.create(len(content), {"Upload-Metadata": named("quick")}) for _ in range(3))
    part = tus.create(len(content), {"Upload-Concat": "partial"})
    check(tus.patch(done, 0, content), 204)
    check(tus.patch(begun, 0, content[:9000]), 204)
    check(tus.patch(part, 0, content), 204)
    started: list[int] = []
    with world.killing("cleaning", chance, lambda: started):
        started.append(world.commands.start(["delete_expired", "--orphans-after", "0"], DAYS))
        world.commands.ended()
    world.command("delete_expired", "--orphans-after", "0", ahead=DAYS)
    if world.was_killed:
        with world.seen.lock:
            world.seen.waits.setdefault("cleaning", []).append(time.monotonic() - world.killed_at)
    for path in (begun, empty, part):
        check(tus.head(path), 404)
        is_gone(world, id_of(path))
    is_complete(world, done, content)


def chunks(world: World, chance: random.Random) -> None:
    """flow.js: chunks over three connections, as forms and as they are, small or large; on_complete may be slow."""
    kind = chance.choice(("quick", "slow complete"))
    size = chance.choice((7_000, 70_000))
    sample = Sample(chance.randbytes(size * 5 + 11), size, f"{kind} {chance.randbytes(6).hex()}.bin")
    port, told = world.server.port, dict.fromkeys(sample.numbers, False)
    name = f"chunks of {size // 1000} kB"

    def send(numbers: list[int]) -> None:
        with suppress(OSError), Connection(port, fields={}) as connection:
            for number in numbers:
                while not told[number]:
                    answer = octet(connection, sample, number) if number % 2 else post(connection, sample, number)
                    told[number] = check(answer, 200, *BUSY).status == 200

    def send_again(number: int) -> Answer:
        with Connection(port, fields={}) as connection:
            return octet(connection, sample, number)

    order = [*sample.numbers]
    chance.shuffle(order)
    with world.killing(name, chance), ThreadPoolExecutor(_CONNECTIONS) as pool:
        done = [pool.submit(send, order[at::_CONNECTIONS]) for at in range(_CONNECTIONS)]
        for one in done:
            one.result()
        if not all(told.values()):
            raise ConnectionError
    is_kept = {}
    for number in sample.numbers:
        is_kept[number] = world.through(name, lambda number=number: test(port, sample, number)).status == 200  # type: ignore[misc]
    for number, was_told in told.items():
        if was_told and not is_kept[number]:
            raise Lost(f"{name}: chunk {number} was answered, and is not there any more")
    for number in sample.numbers:
        if not is_kept[number]:
            check(world.through(name, lambda number=number: send_again(number)), 200)  # type: ignore[misc]
    upload = check(world.through(name, lambda: send_again(1)), 200)
    found = [upload_id for upload_id in world.records() if f'"{upload_id}"'.encode() in upload.body]
    equal(len(found), 1, f"{name}: {upload.body!r} names no upload")
    is_complete(world, found[0], sample.content)


def cancelling(world: World, chance: random.Random) -> None:
    """flow.js: a cancellation, with some of the chunks there."""
    sample = Sample(chance.randbytes(40_000), 10_000, f"{chance.randbytes(6).hex()}.bin")
    port = world.server.port
    before = set(world.records())
    with Connection(port, fields={}) as connection:
        for number in (1, 3):
            check(octet(connection, sample, number), 200)
    (upload_id,) = set(world.records()) - before

    def cancel() -> Answer:
        with Connection(port, fields={}) as connection:
            return connection.request("DELETE", address(sample, 1))

    with world.killing("cancelling", chance):
        check(cancel(), 204)
    if chance.random() < 0.3:
        world.note_state(upload_id)
    check(world.through("cancelling", cancel), 204, 404)
    clean_up(world, upload_id)
    equal(world.files(upload_id), [], "the files of a cancelled upload are still there")
    equal(world.records().get(upload_id, "gone"), "gone", "a cancelled upload")


def test(port: int, sample: Sample, number: int) -> Answer:
    """Ask whether a chunk is there."""
    with Connection(port, fields={}) as connection:
        return check(connection.request("GET", address(sample, number)), 200, 204, 423, 503)


def drafting(world: World, chance: random.Random) -> None:
    """The IETF draft: a file in one request whose client learns the URL from a 104, or the rest of a file."""
    client = Ietf(world.server.port, chance.choice(VERSIONS))
    content = chance.randbytes(chance.choice((20_000, 300_000)))
    paths: list[str] = []
    if chance.random() < 0.5:
        with world.killing("draft, creation", chance), client.connect() as connection:
            client.start(connection, len(content))
            paths.append(urljoin("/files/", connection.interim_answer().headers["location"]))
            send_slowly(connection, content, chance)
            check(connection.answer("POST"), 200, 201)
        name = "draft, creation"
    else:
        name = "draft, append"
        paths.append(client.create(len(content)))
        with world.killing(name, chance), client.connect() as connection:
            client.start_append(connection, paths[0], 0, len(content))
            send_slowly(connection, content, chance)
            check(connection.answer("PATCH"), 200)
    if not paths:  # it has not learnt the URL
        world.note_state(None)
        paths.append(world_path(world, name, client, len(content)))
    path = paths[0]
    answer = world.through(name, lambda: client.head(path))
    known = keeps(world, path, content, 0, answer, status=204)
    if not client.is_complete(answer):
        check(client.append(path, known, content[known:]), 200)
    is_complete(world, path, content)


def world_path(world: World, name: str, client: Ietf, length: int) -> str:
    """Begin anew, and return the path of an upload."""

    def create() -> Answer:
        with client.connect() as connection:
            return connection.request("POST", "/files/", {"Upload-Length": length, **client.says(False)})

    return urljoin("/files/", check(world.through(name, create), 201).headers["location"])


# By the names that mutants use; how often each comes, in hundredths.
ROUNDS: dict[str, tuple[Round, int]] = {
    "creating": (creating, 16),
    "receiving": (receiving, 18),
    "checking": (checking, 5),
    "finishing": (finishing, 17),
    "concatenating": (concatenating, 10),
    "deleting": (deleting, 8),
    "cleaning": (cleaning, 4),
    "chunks": (chunks, 10),
    "cancelling": (cancelling, 3),
    "drafting": (drafting, 9),
}


# --- what clients do ---


def named(name: str) -> str:
    """Metadata with a name."""
    return f"filename {base64.b64encode(name.encode()).decode()}"


def send_slowly(connection: Connection, content: bytes, chance: random.Random) -> None:
    """Send content in pieces."""
    step = -(-len(content) // _PIECES)
    for start in range(0, len(content), step):
        connection.send(content[start : start + step])
        time.sleep(chance.uniform(0, 0.004))


def finish(world: World, path: str, content: bytes, offset: int | None = None) -> None:
    """Send what is missing."""
    tus = world.server.tus
    if offset is None:
        offset = check(tus.head(path), 200).offset
    if offset < len(content):
        check(tus.patch(path, offset, content[offset:]), 204)
    is_complete(world, path, content)


def kill_command(world: World, pid: int) -> None:
    """Kill a command that is running."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    world.commands.ended()


# --- what must be true ---


def check(answer: Answer, *statuses: int) -> Answer:
    """The answer must have one of these statuses."""
    if answer.status not in statuses:
        raise Lost(f"expected {statuses}: {answer}")
    return answer


def equal(found: object, expected: object, what: str) -> None:
    """Both must be the same."""
    if found != expected:
        raise Lost(f"{what}: {found!r}, not {expected!r}")


def keeps(world: World, path: str, content: bytes, known: int, answer: Answer, *, status: int = 200) -> int:
    """The offset is no less than what was told before, nor than what was written, and the bytes before it are right."""
    offset = check(answer, status).offset
    if offset < known:
        raise Lost(f"the offset went back from {known} to {offset}")
    part = world.server.part(path)
    written = part.stat().st_size if part.exists() else offset
    if world.server.stored(path, offset) != content[:offset]:
        raise Lost(f"the bytes before {offset} are not those that were sent")
    if written > offset:
        with world.seen.lock:
            world.seen.unnoted.append(written - offset)
            often = sum(size > BLOCK for size in world.seen.unnoted)
            allowed = RARELY[0] + sum(world.seen.kills.values()) // RARELY[1]
        if written - offset > PIPE or often > allowed:
            raise Lost(f"{written} bytes were written, and only {offset} count")
    return offset


def is_complete(world: World, path: str, content: bytes) -> None:
    """The file is whole, and the hooks have written one row each."""
    upload_id = id_of(path)
    equal(world.records().get(upload_id), "complete", f"{upload_id} ended as")
    if not world.server.finished(path).exists():
        raise Lost(f"{upload_id} is complete, and its file is not there")
    if world.server.finished(path).read_bytes() != content:
        raise Lost(f"{upload_id} is complete, and has other bytes than were sent")
    receipts, made = world.rows("receipt", upload_id), world.rows("made", upload_id)
    digest = hashlib.sha256(content).hexdigest()
    if world.is_embedded:  # the hooks' rows are committed by themselves, so they may be written again
        with world.seen.lock:
            world.seen.repeated += max(len(receipts) - 1, 0) + max(len(made) - 1, 0)
        receipts, made = receipts[:1], made[:1]
    equal(receipts, [digest], f"on_complete has written for {upload_id}")
    equal(made, [None], f"on_create has written for {upload_id}")


def is_gone(world: World, upload_id: str) -> None:
    """Neither a record nor a file of an upload is there."""
    equal(world.records().get(upload_id), None, f"{upload_id} was removed, and its record is")
    equal(world.files(upload_id), [], f"{upload_id} was removed, and its files are")


def unsettled(world: World) -> list[str]:
    """The uploads that are not complete."""
    return [upload_id for upload_id, status in world.records().items() if status in ("new", "active")]


def sweep(world: World) -> None:
    """Let the operator's commands run: everything is complete or gone, and nothing is without a record."""
    world.command("complete_pending")
    world.command("verify", "--orphans-after", "0")
    world.command("delete_expired", "--orphans-after", "0", ahead=DAYS)
    world.command("verify", "--orphans-after", "0")
    records = world.records()
    equal({status for status in records.values()} - {"complete"}, set(), "uploads that are neither complete nor gone")
    equal(sorted(file.name for file in world.files()), sorted(records), "files and records")
    for hook in ("made", "receipt"):
        rows = [upload for upload in world.all_rows(hook) if upload in records]
        if not world.is_embedded:
            equal(len(rows), len(set(rows)), f"uploads with several rows of {hook}")
        equal(set(rows), set(records), f"uploads with a row of {hook}")
