"""Clients that mean no good: no answer of theirs may be a 500, and nobody else may notice them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from proof.soak.clients import Client
from proof.soak.clients import FORM
from tests.live.raw import Connection
from tests.live.raw import Headers
from tests.live.raw import OCTETS
from tests.live.raw import VERSION

NUMBERS = ("-1", "+5", "1e3", "9" * 400, "9223372036854775808", "\u0665", "", "0x10", "1_0", "5,5")
PATHS = ("../../etc/passwd", "%2e%2e/%2e%2e/x", "%00", "a" * 32, ".partial", "a/b", "%ff%fe", "." * 3000)


class Hostile(Client):
    """One attack after another."""

    def turn(self) -> None:
        attack = self.random.choice(ATTACKS)
        self.world.count("attacks")
        with suppress(OSError, IndexError, KeyError, ValueError):  # the server has hung up, which it may
            attack(self)
        self.rest(0.2, 2)

    def try_it(self, method: str, path: str, headers: Headers, body: bytes = b"", fields: Headers = VERSION) -> None:
        """Send a request, to the proxy or past it; it must be refused, or do no harm."""
        with self.any_connection(fields) as connection:
            self.heard(connection.request(method, path, headers, body))

    def any_connection(self, fields: Headers = VERSION) -> Connection:
        """A connection to the proxy, or to a node."""
        ports = [self.world.port, *(node.port for node in self.world.cluster.nodes)]
        return Connection(self.random.choice(ports), fields=fields)

    def raw(self, data: bytes, *, is_end: bool = True) -> None:
        """Send bytes, and read whatever comes."""
        with self.any_connection() as connection:
            connection.send(data)
            if is_end:
                connection.finish()
            connection.socket.settimeout(20)
            head = connection.socket.recv(65536)
            if head.startswith(b"HTTP/1.1 "):
                status = int(head[9:12])
                self.world.answered(status)
                if status >= 500 and status not in (501, 503, 505, 507):  # 501 and 505 are the servers' own
                    self.world.fault(f"{self.name}: {data[:200]!r} got {head[:200]!r}")


def _garbage(self: Hostile) -> None:
    self.raw(self.random.randbytes(self.random.randrange(1, 4000)))


def _half_a_head(self: Hostile) -> None:
    self.raw(b"PATCH /files/" + b"a" * 32 + b" HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0")


def _slow_head(self: Hostile) -> None:
    with self.any_connection() as connection:
        for byte in b"POST /files/ HTTP/1.1\r\nHost: x\r\n"[: self.random.randrange(20, 33)]:
            connection.send(bytes([byte]))
            time.sleep(0.3)


def _slow_body(self: Hostile) -> None:
    with self.any_connection() as connection:
        fields: Headers = {"Upload-Length": 1_000_000, "Content-Type": OCTETS, "Content-Length": 1_000_000}
        connection.start("POST", "/files/", fields)
        for _ in range(self.random.randrange(30)):
            connection.send(b"x")
            connection.pause(0.7)
        if not connection.is_silent():
            self.heard(connection.answer("POST"))


def _numbers(self: Hostile) -> None:
    name = self.random.choice(["Upload-Length", "Upload-Offset", "Content-Length", "Upload-Defer-Length"])
    value = self.random.choice(NUMBERS)
    if self.random.random() < 0.5:
        head = "POST /files/ HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n"
        self.raw(f"{head}{name}: {value}\r\n\r\n".encode())
    else:
        self.try_it("POST", "/files/", {"Upload-Length": 5, name: value.encode().decode("latin-1")})


def _wrong_offset(self: Hostile) -> None:
    paths = [*self.world.current.values()]
    if paths:
        path = self.random.choice(paths)
        offset = self.random.choice([10**12, 10**18, 399_999_999])
        headers: Headers = {"Upload-Offset": offset, "Content-Type": OCTETS}
        self.try_it("PATCH", path, headers, b"!" * self.random.randrange(1, 5000))


def _wrong_kind(self: Hostile) -> None:
    paths = [*self.world.current.values()]
    if paths:
        path = self.random.choice(paths)
        kind = self.random.choice(["text/plain", "multipart/form-data", "", "application/json"])
        self.try_it("PATCH", path, {"Upload-Offset": 0, "Content-Type": kind}, b"!")
        self.try_it("PUT", path, {"Upload-Offset": 0, "Content-Type": kind}, b"!")


def _paths(self: Hostile) -> None:
    method = self.random.choice(["HEAD", "GET", "PATCH", "DELETE", "OPTIONS", "BREW", "CONNECT"])
    path = self.random.choice(["/files/", "/flow/", "/"]) + self.random.choice(PATHS)
    self.try_it(method, path, {"Upload-Offset": 0, "Content-Type": OCTETS}, b"x" if method == "PATCH" else b"")


def _metadata(self: Hostile) -> None:
    value = self.random.choice(["a " + "QUFB" * 3000, ",".join(f"k{n} QQ==" for n in range(1000)), "a b c", "é \xff"])
    self.try_it("POST", "/files/", {"Upload-Length": 5, "Upload-Metadata": value[:7000]})


def _concat(self: Hostile) -> None:
    part = self.random.choice([*self.world.current, "a" * 32, "../../x", "%2e%2e"])
    value = self.random.choice(["final;", "final;" + " ".join([part] * 60), "partial;x", "final;/files/../" + part])
    self.try_it("POST", "/files/", {"Upload-Concat": value})


def _forms(self: Hostile) -> None:
    part = b'--soak\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = self.random.choice(
        [
            b"--soak",
            part % (b"file", b"text instead of a file"),
            (part % (b"flowChunkNumber", b"1")) * 300,
            part % (b"x", b"y" * 100_000),
            b'--soak\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
            b"--soak\r\nContent-Disposition: " + b"a" * 40_000,
            b"\r\n--soak\r\n\r\n\r\n" * 200,
            self.random.randbytes(3000),
        ]
    )
    kind = self.random.choice([FORM, "multipart/form-data", "multipart/form-data; boundary=" + "b" * 300])
    self.try_it("POST", "/flow/", {"Content-Type": kind}, body, fields={})


def _parameters(self: Hostile) -> None:
    pick = self.random.choice
    query = "&".join(
        f"{name}={pick(['0', '1', '2', '-1', '1e3', '%00', '..%2f', '9' * 30, ''])}"
        for name in ("flowChunkNumber", "flowChunkSize", "flowTotalSize", "flowIdentifier", "flowTotalChunks")
    )
    self.try_it(pick(["POST", "GET", "DELETE"]), f"/flow/?{query}", {"Content-Type": "x/y"}, b"x" * 10, fields={})


def _draft(self: Hostile) -> None:
    pick = self.random.choice
    fields: Headers = {
        "Upload-Complete": pick(["?1", "?0", "?2", "yes", "?1;a=b;" * 100]),
        "Upload-Length": pick([*NUMBERS[:4], "5;x", "(5)"]),
        "Content-Digest": pick(["sha-256=:AAAA:", "x", "sha-512=:" + "A" * 3000 + ":", "sha-256=(1 2)"]),
        "Content-Disposition": pick(['attachment; filename="' + "\\" * 500, "x; y*=utf-8''%ff", "a" * 3000]),
    }
    self.try_it("POST", "/files/", fields, b"abcde", fields={})


def _lie(self: Hostile) -> None:
    fields: Headers = {"Upload-Length": 1000, "Content-Type": OCTETS, "Content-Length": 1000}
    with self.any_connection() as connection:
        connection.start("POST", "/files/", fields, body=b"x" * self.random.randrange(900))
        connection.reset() if self.random.random() < 0.5 else connection.finish()


def _chunks(self: Hostile) -> None:
    head = (
        b"POST /files/ HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Defer-Length: 1\r\n"
        b"Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n"
    )
    self.raw(
        head
        + self.random.choice(
            [
                b"\r\nxyz\r\nabc",
                b"\r\n-5\r\nabc\r\n",
                b"Content-Length: 5\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                b"\r\n" + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n",
                b"\r\n3;" + b"x" * 5000 + b"\r\nabc\r\n0\r\n\r\n",
                b"\r\nFFFFFFFFFFFFFFFFFF\r\nabc",
                b"Content-Encoding: gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            ]
        )
    )


ATTACKS: tuple[Callable[[Hostile], None], ...] = (
    _garbage, _half_a_head, _slow_head, _slow_body, _numbers, _wrong_offset, _wrong_offset, _wrong_kind, _paths,
    _metadata, _concat, _forms, _forms, _parameters, _draft, _lie, _chunks,
)  # fmt: skip
