"""Clients that send one file after another through the proxy, each in a manner of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import time
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode
from urllib.parse import urljoin
from urllib.parse import urlsplit

from proof.soak.world import World
from tests.live.raw import Answer
from tests.live.raw import Connection
from tests.live.raw import Headers
from tests.live.raw import OCTETS
from tests.live.raw import VERSION

WAITS = (0.3, 2.0)  # seconds between two attempts, at least and at most
PIECE = 8_000  # bytes that a slow client sends at a time, of files that are not large
PIECES = 50  # as many, of a large file
LARGE = 0.06  # of the files, where there are large ones
TRANSIENT = (409, 423, 503, 507)
CHUNK = 40_000  # bytes of a chunk of a file that is not large
FORM = "multipart/form-data; boundary=soak"


class GaveUp(Exception):
    """A client has got nowhere for too long, or got an answer that it must not get."""


@dataclass
class Client:
    """What all of them can do."""

    world: World
    number: int
    seed: int

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.seed} {type(self).__name__} {self.number}")
        self.name = f"{type(self).__name__} {self.number}"
        self._turn = 0

    def run(self) -> None:
        """Send files until it is over, and then the rest of the last one."""
        time.sleep(self.random.uniform(0, 5))
        while not self.world.is_over.is_set():
            self._turn += 1
            try:
                self.turn()
            except GaveUp as error:
                if self.world.is_stopped.is_set():
                    return
                self.world.fault(f"{self.name}, file {self._turn}: {error}")
                self.world.count("given up")
            self.rest(0.5, 3)

    def turn(self) -> None:
        """Send one file."""
        raise NotImplementedError

    # --- what they are made of ---

    def content(self, largest: int = 400_000) -> bytes:
        """A file that nobody else has."""
        size = self.random.choice([0, 1, 1_000, 50_000, 100_000, 200_000, largest, largest])
        large = self.world.cluster.store.large
        if large and self.random.random() < LARGE:
            size = self.random.choice(large)
        return self.random.randbytes(size)

    def rest(self, least: float, most: float) -> None:
        """Do nothing for a while."""
        self.world.is_over.wait(self.random.uniform(least, most))

    def patiently(self, act: Callable[[], Answer], *good: int, bad: tuple[int, ...] = ()) -> Answer:
        """Try until there is one of the good answers, or of the bad ones that the caller knows about."""
        deadline = time.monotonic() + self.world.patience
        last: object = None
        while time.monotonic() < deadline and not self.world.is_stopped.is_set():
            try:
                last = answer = act()
            except (OSError, IndexError, KeyError, ValueError) as error:  # cut, or no answer to speak of
                last = error
            else:
                if answer.status in (*good, *bad) and ("upload-offset" in answer.headers or answer.status != 409):
                    return answer
                if answer.status not in TRANSIENT:
                    raise GaveUp(f"unexpected answer {answer}")
            time.sleep(self.random.uniform(*WAITS))
        raise GaveUp(f"nothing but {last!r} for {self.world.patience:.0f} s")

    def ask(
        self, method: str, path: str, headers: Headers | None = None, body: bytes = b"", fields: Headers = VERSION
    ) -> Answer:
        """One exchange."""
        with self.connection(fields) as connection:
            return self.heard(connection.request(method, path, headers, body))

    def heard(self, answer: Answer) -> Answer:
        """Count an answer; a server must never say that it is broken."""
        self.world.answered(answer.status)
        if answer.status >= 500 and answer.status not in (503, 507):
            self.world.fault(f"{self.name}: {answer}")
        return answer

    @contextmanager
    def connection(self, fields: Headers = VERSION) -> Iterator[Connection]:
        """A connection to the proxy."""
        with Connection(self.world.port, fields=fields) as connection:
            yield connection

    @contextmanager
    def sending(self, path: str) -> Iterator[None]:
        """Let others see what is being sent."""
        upload_id = _id(path)
        self.world.current[upload_id] = path
        try:
            yield
        finally:
            self.world.current.pop(upload_id, None)

    def done(self, path: str, content: bytes, *, keep: float = 0.1) -> None:
        """The server says that the file is complete: read it, and remove most of them."""
        upload_id = _id(path)
        self.world.finish(upload_id, hashlib.sha256(content).hexdigest())
        self.world.count(f"finished by {type(self).__name__}")
        self.world.count("bytes", len(content))
        answer = self.patiently(lambda: self.ask("GET", f"/files/{upload_id}"), 200)
        if answer.body != content:
            self.world.fault(f"{self.name}: {path} has {len(answer.body)} other bytes than the {len(content)} sent")
        if self.random.random() < (keep if len(content) < 1_000_000 else keep / 10):
            return
        # The answer to an earlier attempt may be lost.
        self.patiently(lambda: self.ask("DELETE", f"/files/{upload_id}"), 204, bad=(404, 410))
        self.world.removed.add(upload_id)

    def send_slowly(self, connection: Connection, data: bytes, pause: float, *, cut_at: int | None = None) -> int:
        """Send in pieces until the server says something; how many bytes were sent."""
        sent, size = 0, _piece(data)
        end = len(data) if cut_at is None else min(cut_at, len(data))
        while sent < end and connection.is_silent():
            piece = data[sent : min(sent + size, end)]
            connection.send(piece)
            sent += len(piece)
            if pause:
                connection.pause(pause * self.random.uniform(0.5, 1.5))
        return sent

    def leave(self, connection: Connection) -> None:
        """Be gone in one of the ways in which clients go."""
        self.world.count("cuts")
        if self.random.random() < 0.5:
            connection.reset()
        else:
            connection.close()


class Tus(Client):
    """Sends the rest in one request."""

    pause = 0.0  # seconds between two pieces
    cuts = 0.0  # how likely it leaves in the middle of a request
    version: int | None = None  # of the draft
    loses = False  # whether its files are removed under its hands
    largest = 400_000

    def turn(self) -> None:
        content = self.content(self.largest)
        path = self.create(content)
        with self.sending(path):
            self.finish(path, content)
        self.done(path, content)

    def create(self, content: bytes) -> str:
        """A new upload without content."""
        headers: Headers = {"Upload-Length": len(content), "Idempotency-Key": f'"{self.random.randbytes(16).hex()}"'}
        answer = self.patiently(lambda: self.ask("POST", "/files/", headers), 201)
        return urlsplit(urljoin("/files/", answer.headers["location"])).path

    def finish(self, path: str, content: bytes) -> None:
        """Send until the server has all."""
        told = 0
        deadline = time.monotonic() + self.world.patience
        while True:
            offset, is_complete = self.where(path)
            if offset < told and not self.loses:
                self.world.fault(f"{self.name}: the offset of {path} went back from {told} to {offset}")
            if offset > told or self.loses:
                deadline = time.monotonic() + self.world.patience
            told = offset
            if is_complete:
                return
            if time.monotonic() > deadline:
                raise GaveUp(f"{path} is still at {offset}")
            try:
                answer = self.append(path, offset, content)
            except (OSError, IndexError, KeyError, ValueError):
                self.world.count("broken requests")
                self.rest(*WAITS)
                continue
            if answer is None:
                continue
            if answer.status in (200, 204) and "upload-offset" in answer.headers:
                told = max(told, answer.offset)
            elif answer.status not in (200, 204, *TRANSIENT):
                raise GaveUp(f"unexpected answer {answer} at {offset} of {len(content)}")
            else:
                time.sleep(self.random.uniform(*WAITS) if answer.status in (503, 507) else 0.05)

    def where(self, path: str) -> tuple[int, bool]:
        """The offset, and whether it is complete."""
        answer = self.patiently(lambda: self.ask("HEAD", path), 200)
        return answer.offset, answer.offset == int(answer.headers.get("upload-length", -1))

    def append(self, path: str, offset: int, content: bytes) -> Answer | None:
        """Send the rest, or a part of it; ``None`` if the client has left."""
        rest = content[offset:]
        with self.connection() as connection:
            connection.start_patch(path, offset, {"Content-Length": len(rest)})
            return self.body(connection, rest)

    def body(self, connection: Connection, rest: bytes) -> Answer | None:
        """Send the content and hear the answer, or leave."""
        cut_at = self.random.randrange(len(rest)) if rest and self.random.random() < self.cuts else None
        sent = self.send_slowly(connection, rest, self.pause, cut_at=cut_at)
        self.world.count("bytes sent", sent)
        if cut_at is not None and sent == cut_at and connection.is_silent():
            self.leave(connection)
            return None
        return self.heard(connection.answer("PATCH"))


class SlowTus(Tus):
    """Takes its time."""

    pause = 0.8


class CutTus(Tus):
    """Loses its connection again and again."""

    pause = 0.2
    cuts = 0.7


class Victim(CutTus):
    """Has its files removed by hand while it sends, and afterwards."""

    loses = True

    def turn(self) -> None:
        content = self.random.randbytes(300_000)
        path = self.create(content)
        upload_id = _id(path)
        self.world.exposed.add(upload_id)
        try:
            self.finish(path, content)
        finally:
            self.world.exposed.discard(upload_id)
        self.world.finish(upload_id, hashlib.sha256(content).hexdigest())
        self.world.count("finished by Victim")
        self.world.kept.append(upload_id)


class PollingTus(SlowTus):
    """Asks how far it is while it sends, from another connection."""

    def body(self, connection: Connection, rest: bytes) -> Answer | None:
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(self._poll, self._path)
            try:
                return super().body(connection, rest)
            finally:
                self._is_sending = False
                asking.result()

    def append(self, path: str, offset: int, content: bytes) -> Answer | None:
        self._path, self._is_sending = path, True
        return super().append(path, offset, content)

    def _poll(self, path: str) -> None:
        told = 0
        while self._is_sending and not self.world.is_stopped.is_set():
            try:
                answer = self.ask("HEAD", path)
            except (OSError, IndexError, KeyError, ValueError):
                answer = None
            if answer is not None and answer.status == 200:
                if answer.offset < told:
                    self.world.fault(f"{self.name}: a poll of {path} went back from {told} to {answer.offset}")
                told = answer.offset
            elif answer is not None and answer.status not in (423, 503):
                self.world.fault(f"{self.name}: a poll of {path} got {answer}")
            time.sleep(1)


class ChunkedTus(Tus):
    """Does not know the length before the end, and sends bodies in chunks."""

    pause = 0.1

    def create(self, content: bytes) -> str:
        headers: Headers = {"Upload-Defer-Length": 1, "Idempotency-Key": f'"{self.random.randbytes(16).hex()}"'}
        answer = self.patiently(lambda: self.ask("POST", "/files/", headers), 201)
        return urlsplit(urljoin("/files/", answer.headers["location"])).path

    def where(self, path: str) -> tuple[int, bool]:
        answer = self.patiently(lambda: self.ask("HEAD", path), 200)
        self._is_known = "upload-length" in answer.headers
        return answer.offset, answer.offset == int(answer.headers.get("upload-length", -1))

    def append(self, path: str, offset: int, content: bytes) -> Answer | None:
        rest = content[offset:]
        declares: Headers = {} if self._is_known else {"Upload-Length": len(content)}
        with self.connection() as connection:
            connection.start_patch(path, offset, {"Transfer-Encoding": "chunked", **declares})
            size = _piece(rest)
            for at in range(0, len(rest), size):
                piece = rest[at : at + size]
                if not connection.is_silent():
                    break
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                connection.pause(self.pause)
            else:
                connection.send(b"0\r\n\r\n")
            return self.heard(connection.answer("PATCH"))


class CheckedTus(Tus):
    """Sends a checksum with each piece."""

    def append(self, path: str, offset: int, content: bytes) -> Answer | None:
        piece = content[offset : offset + max(60_000, len(content) // 8)]
        checksum = f"sha1 {base64.b64encode(hashlib.sha1(piece).digest()).decode()}"
        headers: Headers = {"Content-Type": OCTETS, "Upload-Offset": offset, "Upload-Checksum": checksum}
        return self.ask("PATCH", path, headers, piece)


class QuickTus(Tus):
    """Sends everything along with the creation, and again with the same key until it hears an answer."""

    def turn(self) -> None:
        content = self.content()
        key = f'"{self.random.randbytes(16).hex()}"'
        headers: Headers = {"Upload-Length": len(content), "Content-Type": OCTETS, "Idempotency-Key": key}
        # A 409 is followed by another attempt, which the server continues from what it has.
        answer = self.patiently(lambda: self.ask("POST", "/files/", headers, content), 201)
        path = urlsplit(urljoin("/files/", answer.headers["location"])).path
        with self.sending(path):
            self.finish(path, content)
        self.done(path, content)


class TwinTus(Tus):
    """Two tabs of a browser that send the same upload at the same time."""

    pause = 0.1

    def turn(self) -> None:
        content = self.content(100_000)
        path = self.create(content)
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(self.finish, path, content) for _ in range(2)]:
                done.result()
        self.done(path, content)


class PartsTus(Tus):
    """Sends parts at the same time, and joins them; sometimes before they are complete."""

    def turn(self) -> None:
        content = self.content() or b"x"
        edges = sorted({0, len(content), *(self.random.randrange(len(content)) for _ in range(2))})
        pieces = [content[start:end] for start, end in zip(edges, edges[1:], strict=False)]
        paths = [self._create_part(piece) for piece in pieces]
        is_early = self.random.random() < 0.3
        if is_early:
            final = self._join(paths)
        with ThreadPoolExecutor(len(pieces)) as pool:
            for done in [pool.submit(self.finish, *pair) for pair in zip(paths, pieces, strict=True)]:
                done.result()
        if not is_early:
            final = self._join(paths)
        deadline = time.monotonic() + self.world.patience
        while not self._is_joined(final, len(content)):
            if time.monotonic() > deadline:
                raise GaveUp(f"the parts of {final} are complete, but it is not")
            time.sleep(self.random.uniform(*WAITS))
        self.done(final, content)

    def _create_part(self, piece: bytes) -> str:
        headers: Headers = {"Upload-Length": len(piece), "Upload-Concat": "partial"}
        answer = self.patiently(lambda: self.ask("POST", "/files/", headers), 201)
        return urlsplit(urljoin("/files/", answer.headers["location"])).path

    def _join(self, paths: list[str]) -> str:
        headers = {"Upload-Concat": "final;" + " ".join(paths)}
        answer = self.patiently(lambda: self.ask("POST", "/files/", headers), 201)
        return urlsplit(urljoin("/files/", answer.headers["location"])).path

    def _is_joined(self, path: str, length: int) -> bool:
        answer = self.patiently(lambda: self.ask("HEAD", path), 200)
        return answer.headers.get("upload-offset") == answer.headers.get("upload-length") == str(length)


class Draft(Tus):
    """Speaks a version of the IETF draft."""

    pause = 0.1
    cuts = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.version = (3, 5, 6, 10)[self.number % 4]
        self._fields: Headers = {"Upload-Draft-Interop-Version": self.version}

    def _says(self, *, complete: bool) -> dict[str, str]:
        if self.version == 3:
            return {"Upload-Incomplete": "?0" if complete else "?1"}
        return {"Upload-Complete": "?1" if complete else "?0"}

    def create(self, content: bytes) -> str:
        headers: Headers = {"Upload-Length": len(content), "Idempotency-Key": f'"{self.random.randbytes(16).hex()}"'}
        fields: Headers = {**headers, **self._says(complete=False)}
        answer = self.patiently(lambda: self.ask("POST", "/files/", fields, fields=self._fields), 201)
        return urlsplit(urljoin("/files/", answer.headers["location"])).path

    def where(self, path: str) -> tuple[int, bool]:
        answer = self.patiently(lambda: self.ask("HEAD", path, fields=self._fields), 200, 204)
        complete = answer.headers.get("upload-complete") == "?1" or answer.headers.get("upload-incomplete") == "?0"
        return answer.offset, complete

    def append(self, path: str, offset: int, content: bytes) -> Answer | None:
        rest = content[offset:]
        kind = {"Content-Type": "application/partial-upload"} if self.version in (6, 10) else {}
        with self.connection(self._fields) as connection:
            fields: Headers = {"Content-Length": len(rest), "Upload-Offset": offset, **kind}
            connection.start("PATCH", path, {**fields, **self._says(complete=True)})
            return self.body(connection, rest)


class Mixed(Draft):
    """Begins in tus, and goes on in the draft."""

    def create(self, content: bytes) -> str:
        return Tus.create(self, content)


class Quitter(Tus):
    """Sends a part, and never comes back; or removes what it has sent."""

    def turn(self) -> None:
        content = self.random.randbytes(100_000)
        half = content[: self.random.randrange(1, 60_000)]
        large = self.world.cluster.store.large
        if large and self.random.random() < 0.3:  # in more than a part
            content = self.random.randbytes(large[-1])
            half = content[: large[0]]
        path = self.create(content)
        headers: Headers = {"Content-Type": OCTETS, "Upload-Offset": 0}
        self.patiently(lambda: self.ask("PATCH", path, headers, half), 204, bad=(409,))  # it was there already
        if self.random.random() < 0.8:
            self.patiently(lambda: self.ask("DELETE", path), 204, bad=(404, 410))
            self.world.count("cancelled")
        else:
            self.world.count("abandoned")


class Flow(Client):
    """Sends chunks, some at the same time, as forms or as they are."""

    chunk = CHUNK
    parallel = 1
    copies = 1  # how often it sends each chunk, at the same time
    pause = 0.0

    def turn(self) -> None:
        content = self.content() or b"x"
        self.chunk = CHUNK
        if len(content) > 1_000_000:
            self.chunk = self.random.choice([1_000_000, 5 * 1024 * 1024])  # the latter are parts of their own
        count = max(1, len(content) // self.chunk)
        name = self.random.randbytes(8).hex()
        order = [*range(1, count + 1)] * self.copies
        self.random.shuffle(order)
        if self.parallel == 1:
            answers = [self._send(content, name, count, number) for number in order]
        else:
            with ThreadPoolExecutor(self.parallel) as pool:
                answers = [*pool.map(lambda number: self._send(content, name, count, number), order)]
        found = {json.loads(answer.body)["id"] for answer in answers}
        if len(found) != 1:
            raise GaveUp(f"one file has become {len(found)} uploads")
        (upload_id,) = found
        url = f"/flow/{upload_id}"
        deadline = time.monotonic() + self.world.patience
        while True:
            state = json.loads(self.patiently(lambda: self.ask("GET", url, fields={}), 200).body)
            if state["complete"]:
                break
            if time.monotonic() > deadline:
                raise GaveUp(f"all chunks were taken, but {state}")
            for number in state.get("missing") or ():
                self.world.count("missing chunks")
                self._send(content, name, count, int(number) if isinstance(number, int) else int(number[0]))
            time.sleep(self.random.uniform(*WAITS))
        self.done(f"/files/{upload_id}", content)

    def _send(self, content: bytes, name: str, count: int, number: int) -> Answer:
        piece = content[(number - 1) * self.chunk : None if number == count else number * self.chunk]
        fields = {
            "flowChunkNumber": number,
            "flowChunkSize": self.chunk,
            "flowTotalSize": len(content),
            "flowIdentifier": name,
            "flowFilename": f"{name}.bin",
            "flowTotalChunks": count,
        }
        as_form = self.random.random() < 0.5
        return self.patiently(lambda: self._post(fields, piece, as_form=as_form), 200)

    def _post(self, fields: dict[str, object], piece: bytes, *, as_form: bool) -> Answer:
        if not as_form:
            headers: Headers = {"Content-Type": "application/octet-stream", "Content-Length": len(piece)}
            return self._whole(f"/flow/?{urlencode(fields)}", headers, piece)
        text = "".join(
            f'--soak\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head = f'{text}--soak\r\nContent-Disposition: form-data; name="file"; filename="blob"\r\n\r\n'.encode()
        body = head + piece + b"\r\n--soak--\r\n"
        return self._whole("/flow/", {"Content-Type": FORM, "Content-Length": len(body)}, body)

    def _whole(self, url: str, headers: Headers, body: bytes) -> Answer:
        with self.connection({}) as connection:
            connection.start("POST", url, headers)
            self.world.count("bytes sent", self.send_slowly(connection, body, self.pause))
            return self.heard(connection.answer("POST"))


class ParallelFlow(Flow):
    """Three chunks at a time."""

    parallel = 3
    pause = 0.1


class TwinFlow(Flow):
    """Each chunk twice, at the same time."""

    parallel = 4
    copies = 2


class SlowFlow(Flow):
    """Takes its time."""

    pause = 0.8


def _piece(data: bytes) -> int:
    return max(PIECE, len(data) // PIECES)


def _id(path: str) -> str:
    return path.rpartition("/")[2]
