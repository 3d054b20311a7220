"""The state machine: clients of every protocol, on two servers, compared with the model after each answer."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar
from typing import NamedTuple
from urllib.parse import urlencode
from urllib.parse import urljoin

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import Bundle
from hypothesis.stateful import initialize
from hypothesis.stateful import invariant
from hypothesis.stateful import multiple
from hypothesis.stateful import rule
from hypothesis.stateful import RuleBasedStateMachine

from .model import content_of
from .model import EXPIRED
from .model import File
from .model import FOUND
from .model import MISSING
from .model import Upload
from .worlds import Reply
from .worlds import Request
from .worlds import Running
from .worlds import World

OCTETS = "application/offset+octet-stream"
DAY = 86400.0
LIFE = DAY  # seconds: EXPIRATION
SLACK = LIFE / 100  # by which a postponed expiry may be earlier
COMPLETED_TTL, CANCELLED_TTL = 300.0, 120.0  # seconds
BUSY = {423, 503}
BROKEN = {500, 502, 503, 507}

nodes = st.sampled_from([0, 1])
owners = st.sampled_from(["ann", "bob"])
dialects = st.sampled_from(["tus", "tus", "3", "6", "10"])
pieces = st.integers(1, 40)


class Wanted(NamedTuple):
    """What a client creates: an upload of this size, with the first bytes of its content or without."""

    size: int
    piece: int | None
    dialect: str
    kind: str
    cut: int | None = None
    deferred: bool = False
    key: str | None = None


class Held:
    """A request whose body hangs: it began at ``start``, and the server has ``size`` bytes of it."""

    def __init__(self, running: Running, upload: Upload, node: int, start: int, size: int, dialect: str) -> None:
        self.running = running
        self.node = node
        self.upload = upload
        self.start = start
        self.size = size
        self.dialect = dialect
        self.is_over = False
        self.was_taken: bool | None = False  # whether a newer request has taken the upload; None: perhaps

    def __repr__(self) -> str:
        return f"<request at {self.start} of {self.upload!r}>"


class Machine(RuleBasedStateMachine):
    """Each rule is something that happens. What is answered is asserted, and noted for the example that fails."""

    worlds: ClassVar[Sequence[World]]  # one is chosen for each example, and lives on
    counts: ClassVar[dict[str, int]] = {"examples": 0, "steps": 0, "requests": 0}

    uploads = Bundle("uploads")
    parts = Bundle("parts")
    files = Bundle("files")
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Upload] = []
        self.sent_files: list[File] = []
        self.keys: dict[tuple[str, str], Upload] = {}
        self.requests: list[Held] = []
        self.store_is_down = False
        Machine.counts["examples"] += 1
        self.example = Machine.counts["examples"]

    @initialize(number=st.integers(0, 1))
    def start(self, number: int) -> None:
        self.world = self.worlds[number % len(self.worlds)]
        self.sliding = self.world.sliding

    # --- what clients say ---

    def name(self, owner: str) -> str:
        """An owner whom no other example has."""
        return f"{owner}-{self.example}"

    def send(self, node: int, owner: str, request: Request) -> Reply:
        request.headers = {**request.headers, "X-User": self.name(owner)}
        reply = self.world.send(node, request)
        self.counts["requests"] += 1
        cut = "" if request.cut is None else f", cut after {request.cut}"
        shown = {name: value for name, value in request.headers.items() if name.startswith(("Upload-", "Idem"))}
        size = f" with {len(request.body)} bytes{cut}" if request.body else ""
        note(
            f"    {owner} to server {node}: {request.method} {request.path} {shown or ''}{size}: {reply.status}"
            + (f", Upload-Offset: {reply.offset}" if reply.offset is not None else f" {reply.body[:90]!r}")
        )
        assert reply.status not in BROKEN - BUSY or self.store_is_down, reply
        return reply

    @staticmethod
    def fields(dialect: str) -> dict[str, str]:
        return {"Tus-Resumable": "1.0.0"} if dialect == "tus" else {"Upload-Draft-Interop-Version": dialect}

    @classmethod
    def append(cls, dialect: str, start: int, *, is_last: bool) -> dict[str, str]:
        """The headers of content."""
        fields = {**cls.fields(dialect), "Upload-Offset": str(start)}
        if dialect == "tus":
            return {**fields, "Content-Type": OCTETS}
        return {**fields, "Content-Type": "application/partial-upload", **cls.says(dialect, is_last)}

    @staticmethod
    def says(dialect: str, is_last: bool) -> dict[str, str]:
        if dialect == "3":
            return {"Upload-Incomplete": "?0" if is_last else "?1"}
        return {"Upload-Complete": "?1" if is_last else "?0"}

    def life(self) -> tuple[float, float]:
        """When something expires that is created now."""
        now = self.world.now()
        return now + LIFE - self.world.tolerance, now + LIFE + self.world.tolerance

    def touched(self, upload: Upload) -> None:
        """Content has arrived, or may have."""
        if self.sliding:
            now, slack = self.world.now(), self.world.tolerance + SLACK
            upload.dies = upload.dies[0], now + LIFE + slack

    def postponed(self, upload: Upload) -> None:
        """Content has arrived."""
        self.touched(upload)
        if self.sliding:
            upload.dies = max(upload.dies[0], self.world.now() + LIFE - SLACK - self.world.tolerance), upload.dies[1]

    def is_settled(self, status: int, fates: set[str], dialect: str, *, busy: bool) -> bool:
        """Check an answer that says no more than what has become of an upload. Return whether it is one."""
        if status == 404:
            assert MISSING in fates or (EXPIRED in fates and dialect in ("3", "6")), "It is there."
            return True
        if status == 410:
            assert EXPIRED in fates, "It has not expired."
            return True
        if status in BUSY | BROKEN and (busy or self.store_is_down):
            return True
        assert FOUND in fates, f"Answered {status}, but it is {' or '.join(fates)}."
        return False

    def completed(self, upload: Upload) -> None:
        """It is, and so may be those that it is a part of."""
        upload.is_complete = True
        upload.low = upload.high = len(upload.content)
        for final in self.all:
            if upload in final.parts and all(part.is_complete for part in final.parts):
                final.may_be_complete = True
                for part in final.parts:
                    part.dies = min(part.dies[0], self.world.now() + DAY - self.world.tolerance), part.dies[1]

    # --- creation ---

    @rule(
        target=uploads,
        node=nodes,
        owner=owners,
        size=st.integers(0, 60),
        piece=st.none() | pieces,
        cut=st.none() | st.integers(0, 10),
        deferred=st.booleans(),
        key=st.sampled_from([None, None, None, "k1", "k2"]),
        dialect=dialects,
    )
    def create(
        self,
        node: int,
        owner: str,
        size: int,
        piece: int | None,
        cut: int | None,
        deferred: bool,
        key: str | None,
        dialect: str,
    ) -> object:
        """An upload, with or without content, repeated if there was one with this key."""
        known = self.keys.get((owner, key)) if key is not None else None
        if known is not None:
            size, piece, deferred, dialect = len(known.content), None, False, "tus"
        return self.made(node, owner, Wanted(size, piece, dialect, "whole", cut, deferred, key), known)

    @rule(targets=(parts, uploads), node=nodes, owner=owners, size=st.integers(0, 20), piece=st.none() | pieces)
    def create_part(self, node: int, owner: str, size: int, piece: int | None) -> object:
        return self.made(node, owner, Wanted(size, piece, "tus", "part"), None)

    def made(self, node: int, owner: str, wanted: Wanted, known: Upload | None) -> object:
        size, piece, dialect, kind, cut, deferred, key = wanted
        content = content_of(len(self.all), size) if known is None else known.content
        body = content[: piece or 0]
        cut = None if not body or cut is None else min(cut, len(body) - 1)
        is_last = len(body) == size
        headers = self.fields(dialect)
        if dialect == "tus":
            headers |= {"Upload-Defer-Length": "1"} if deferred else {"Upload-Length": str(size)}
            headers |= {"Content-Type": OCTETS} if body else {}
            headers |= {"Upload-Concat": "partial"} if kind == "part" else {}
        else:
            headers |= self.says(dialect, is_last) | ({} if deferred else {"Upload-Length": str(size)})
        if dialect != "tus" or deferred:
            key = None  # a repetition would have to be the same in this, too
        headers |= {"Idempotency-Key": key} if key else {}
        life = self.life()
        reply = self.send(node, owner, Request("POST", "/files/", headers, body, cut))
        if reply.status in BROKEN and self.store_is_down:
            if key is not None:
                self.keys.pop((owner, key), None)
            return multiple()
        is_cut_draft = cut is not None and dialect != "tus" and reply.status == 503
        assert reply.status in (200, 201) or is_cut_draft, reply
        path = urljoin("/files/", reply.headers["location"])
        if known is not None and path == known.path:
            assert FOUND in known.fates(owner, self.world.now()), "A repeated creation finds what is gone."
            return multiple()
        if known is not None:
            assert known.fates(owner, self.world.now()) != {FOUND}, "A repeated creation made another upload."
        assert path not in {upload.path for upload in self.all}
        upload = Upload(path, owner, content, not deferred, kind, life)
        self.all.append(upload)
        if key is not None:
            self.keys[owner, key] = upload
        if body:
            upload.may_reach(len(body) if cut is None else cut)
            self.postponed(upload)
        offset = reply.offset
        if offset is None:
            offset = len(body) if cut is None else cut
        arrived = len(body) if cut is None else cut
        assert offset == arrived or self.store_is_down, f"A creation with {arrived} bytes is at {offset}."
        upload.is_at(offset)
        if dialect != "tus" and is_last:
            upload.has_length = True  # the last content is announced with its size
        if upload.has_length and offset == size and cut is None:
            self.completed(upload)
        return upload

    # --- content ---

    @rule(
        upload=uploads,
        node=nodes,
        shift=st.sampled_from([0, 0, 0, 0, -1, 1, 9]),
        size=pieces,
        cut=st.none() | st.none() | st.integers(0, 39),
        checksum=st.sampled_from([None, None, "right", "wrong"]),
        dialect=dialects,
    )
    def write(
        self, upload: Upload, node: int, shift: int, size: int, cut: int | None, checksum: str | None, dialect: str
    ) -> None:
        """Content at the offset that the client knows of, or at a wrong one."""
        start = min(max(0, upload.low + shift), len(upload.content))
        body = upload.content[start : start + size]
        stop = start + len(body)
        is_last = stop == len(upload.content)
        headers = self.append(dialect, start, is_last=is_last)
        if dialect == "tus":
            if is_last and not upload.has_length:
                headers["Upload-Length"] = str(len(upload.content))
            if checksum is not None:
                digest = hashlib.sha1(body if checksum == "right" else body + b"!").digest()
                headers["Upload-Checksum"] = "sha1 " + base64.b64encode(digest).decode()
        else:
            checksum = None
        cut = None if cut is None or not body else min(cut, len(body) - 1)
        self.write_it(upload, node, start, body, cut, checksum, dialect, headers, is_last=is_last)

    def write_it(
        self,
        upload: Upload,
        node: int,
        start: int,
        body: bytes,
        cut: int | None,
        checksum: str | None,
        dialect: str,
        headers: dict[str, str],
        *,
        is_last: bool,
    ) -> None:
        now = self.world.now()
        fates = upload.fates(upload.owner, now)
        busy = bool(upload.holders) or cut is not None
        reply = self.send(node, upload.owner, Request("PATCH", upload.path, headers, body, cut))
        stop = start + len(body)
        arrived = start if checksum is not None and cut is not None else start + (len(body) if cut is None else cut)
        may_begin = upload.low <= start <= upload.high
        if self.is_settled(reply.status, fates, dialect, busy=busy):
            if reply.status in BUSY | BROKEN and FOUND in fates:
                self.touched(upload)
                if reply.offset is not None and not self.store_is_down and reply.status == 503 and cut is not None:
                    assert may_begin and reply.offset == arrived, "A cut body was not kept to its last byte."
                    upload.may_reach(arrived)
                    upload.is_at(reply.offset)
                    self.taken(upload)
                    self.learn_length(upload, dialect, headers, is_last)
                elif may_begin:
                    upload.may_reach(arrived)
                    self.maybe_taken(upload)
                    if not self.store_is_down:  # else it may have failed before; the client says the length again
                        self.learn_length(upload, dialect, headers, is_last)
            return
        if upload.kind == "final":
            assert reply.status == 403, "A final upload takes content."
            return
        if reply.status == 409:
            offset = reply.offset
            assert offset is not None
            if cut is not None and may_begin and offset == arrived:
                upload.may_reach(arrived)
                upload.is_at(offset)
                self.postponed(upload)
                self.taken(upload)
                self.learn_length(upload, dialect, headers, is_last)
            else:
                assert offset != start, "It refuses the offset that it has."
                upload.is_at(offset)
                self.touched(upload)
                self.taken(upload, dead_only=True)
            return
        assert may_begin, f"It took content at {start}."
        if checksum == "wrong" and cut is None and (body or reply.status == 460):
            assert reply.status == 460, "It took content that does not match its checksum."
            upload.is_at(start)
            self.taken(upload)
            return  # whether it has kept the length is its own business: the client says it again
        if upload.is_complete and body == b"" and reply.status == 400:
            return  # an early version says that more will follow
        assert reply.status in (200, 201, 204), "It refuses content that fits."
        assert cut is None, "It says that it has content that was not sent."
        if reply.offset is not None:
            assert reply.offset == stop, f"It was sent content up to {stop}, and answers {reply.offset}."
        upload.may_reach(stop)
        upload.is_at(stop)
        self.postponed(upload)
        self.taken(upload)
        self.learn_length(upload, dialect, headers, is_last)
        if upload.has_length and stop == len(upload.content):
            self.completed(upload)

    @staticmethod
    def learn_length(upload: Upload, dialect: str, headers: dict[str, str], is_last: bool) -> None:
        """The server has been told the length with content that it began to take.

        What a checksum covers counts whole or not at all. Then the client says the length again.
        """
        if "Upload-Checksum" in headers and upload.low < len(upload.content):
            return
        if "Upload-Length" in headers or (dialect != "tus" and is_last):
            upload.has_length = True

    @staticmethod
    def taken(upload: Upload, *, dead_only: bool = False) -> None:
        """A newer request has taken the upload from those whose bodies hang."""
        for held in upload.holders:
            if not dead_only:
                held.was_taken = True
            elif held.running.is_dead and held.was_taken is False:
                held.was_taken = None

    @staticmethod
    def maybe_taken(upload: Upload) -> None:
        for held in upload.holders:
            if held.was_taken is False:
                held.was_taken = None

    @rule(upload=uploads, node=nodes)
    def write_too_much(self, upload: Upload, node: int) -> None:
        """More than the length that was declared is refused, and nothing of it is kept."""
        if upload.kind != "final" and upload.has_length and upload.low == upload.high and not upload.holders:
            fates = upload.fates(upload.owner, self.world.now())
            headers = self.append("tus", upload.low, is_last=False)
            body = upload.content[upload.low :] + b"!"
            reply = self.send(node, upload.owner, Request("PATCH", upload.path, headers, body))
            if not self.is_settled(reply.status, fates, "tus", busy=False):
                assert reply.status == 413, "It took more than its length."

    @rule(upload=uploads, node=nodes)
    def declare_another_length(self, upload: Upload, node: int) -> None:
        """A length is declared once."""
        if upload.kind != "final" and upload.has_length and upload.low == upload.high and not upload.holders:
            fates = upload.fates(upload.owner, self.world.now())
            headers = {**self.append("tus", upload.low, is_last=False), "Upload-Length": str(len(upload.content) + 1)}
            reply = self.send(node, upload.owner, Request("PATCH", upload.path, headers))
            if not self.is_settled(reply.status, fates, "tus", busy=False):
                assert reply.status == 400, "The length was changed."

    # --- bodies that hang ---

    @rule(target=held, upload=uploads, node=nodes, size=pieces, dialect=dialects)
    def hang(self, upload: Upload, node: int, size: int, dialect: str) -> object:
        """A request with the rest of a file, whose body comes to a halt."""
        rest = 0 if upload.kind == "final" else len(upload.content) - upload.low
        if upload.fates(upload.owner, self.world.now()) != {FOUND} or upload.low != upload.high or rest < 2:
            return multiple()
        if self.store_is_down or not upload.has_length or any(not held.is_over for held in upload.holders):
            self.look(upload, node, dialect)
            if upload.low != upload.high or self.store_is_down or not upload.has_length:
                return multiple()
            rest = len(upload.content) - upload.low
            if rest < 2:
                return multiple()
        size = min(size, rest - 1)
        start = upload.low
        headers = {**self.append(dialect, start, is_last=True), "X-User": self.name(upload.owner)}
        note(f"    {upload.owner} to server {node}: PATCH {upload.path} at {start}, {size} of {rest} bytes, and hangs")
        request = Request("PATCH", upload.path, headers, upload.content[start:])
        running = self.world.begin(node, request, size)
        self.counts["requests"] += 1
        self.maybe_taken(upload)
        request_ = Held(running, upload, node, start, size, dialect)
        upload.holders.append(request_)
        upload.may_reach(start + size)
        self.touched(upload)
        self.requests.append(request_)
        return request_

    @rule(held=held, size=pieces)
    def hang_on(self, held: Held, size: int) -> None:
        """More of the body comes."""
        rest = len(held.upload.content) - held.start - held.size
        is_gone = held.running.is_told_to_leave or (held.running.is_dead and self.world.tolerance)
        if held.is_over or is_gone or rest < 2:
            return
        size = min(size, rest - 1)
        at = held.start + held.size
        held.running.more(self.rest_of(held)[:size])
        held.size += size
        if held.was_taken is not True:
            held.upload.may_reach(at + size)
            self.touched(held.upload)

    @staticmethod
    def rest_of(held: Held) -> bytes:
        """What its client sends: other bytes, if it has lost the upload, so that one sees where they go."""
        rest = held.upload.content[held.start + held.size :]
        return bytes(byte ^ 255 for byte in rest) if held.was_taken else rest

    @rule(held=held, whole=st.booleans())
    def go_on(self, held: Held, whole: bool) -> None:
        """The rest of a body comes, or its connection ends. If the server looks dead, it wakes up with this."""
        self.over(held, whole)

    def over(self, held: Held, whole: bool) -> None:
        if held.is_over:
            return
        upload = held.upload
        at = held.start + held.size
        fates = upload.fates(upload.owner, self.world.now())
        reply = held.running.end(self.rest_of(held) if whole else b"")
        held.is_over = True
        note(f"    the request at {held.start} of {upload.path} {'comes' if whole else 'is cut'}: {reply}")
        upload.holders.remove(held)
        was_told_to_leave = held.running.is_told_to_leave  # and what came after that reached nobody
        arrived = len(upload.content) if whole and not was_told_to_leave else at
        if reply is None:  # its process was killed, or its answer was lost with what came too late
            assert held.running.is_dead or was_told_to_leave
            return
        if held.was_taken is True:
            assert reply.status not in (200, 201, 204), "A request goes on that has lost its upload."
            return
        if reply.status in (200, 201, 204):
            assert whole, "It says that it has content that was not sent."
            assert upload.low <= arrived
            upload.may_reach(arrived)
            upload.is_at(arrived)
            self.postponed(upload)
            self.completed(upload)
            return
        is_sure = held.was_taken is False and not held.running.is_dead and not self.store_is_down
        if is_sure and fates == {FOUND}:
            assert not whole or was_told_to_leave, f"It refuses content that fits: {reply}"
            assert reply.status in (409, 503) and reply.offset == arrived, "A cut body was not kept to its last byte."
            upload.may_reach(arrived)
            upload.is_at(arrived)
        else:
            upload.may_reach(arrived)
        self.touched(upload)

    @rule(held=held, node=nodes, size=pieces, late=st.none() | pieces, dialect=dialects)
    def take_over(self, held: Held, node: int, size: int, late: int | None, dialect: str) -> None:
        """A client whose request hangs asks for the offset and goes on from there. More of the old body may come."""
        if held.is_over or held.upload.kind == "final":
            return
        self.look(held.upload, node, dialect)
        self.write(held.upload, node, 0, size, None, None, dialect)
        if late is not None:
            self.hang_on(held, late)

    @rule(held=held, node=nodes, dialect=dialects, shift=st.sampled_from([-1, 1]))
    def disturb(self, held: Held, node: int, dialect: str, shift: int) -> None:
        """Somebody asks for the offset, and sends content elsewhere. Neither keeps a request from going on."""
        if held.is_over or held.upload.kind == "final":
            return
        self.look(held.upload, node, dialect)
        self.write(held.upload, node, shift, 1, None, None, dialect)

    @rule(held=held, dialect=dialects)
    def kill_holder(self, held: Held, dialect: str) -> None:
        """The server of a request is killed, and its client asks the other one how far it has got."""
        if not held.is_over and not held.running.is_dead:
            self.kill(held.node)
            self.look(held.upload, 1 - held.node, dialect)

    # --- questions ---

    @rule(upload=uploads, node=nodes, dialect=dialects)
    def look(self, upload: Upload, node: int, dialect: str) -> None:
        """HEAD."""
        fates = upload.fates(upload.owner, self.world.now())
        reply = self.send(node, upload.owner, Request("HEAD", upload.path, self.fields(dialect)))
        if self.is_settled(reply.status, fates, dialect, busy=bool(upload.holders)):
            return
        assert reply.status in (200, 204)
        if upload.kind == "final":
            are_complete = all(part.is_complete for part in upload.parts)
            if reply.offset is not None and reply.offset == len(upload.content) and are_complete:
                self.completed(upload)
            else:
                assert not upload.is_complete and not are_complete, "It has all its parts and is not complete."
                assert reply.offset in (None, 0), "It has an offset before it is complete."
            return
        assert reply.offset is not None
        upload.is_at(reply.offset)
        if upload.holders:
            self.touched(upload)  # they have saved what has arrived
        alive = [held for held in upload.holders if held.was_taken is False]
        for held in alive:
            if self.world.exact:
                assert reply.offset == held.start + held.size, "What has arrived does not count."
        self.taken(upload, dead_only=True)
        if upload.has_length:
            if "upload-length" in reply.headers:
                assert reply.headers["upload-length"] == str(len(upload.content)), "It has another length."
            if reply.offset == len(upload.content) and (dialect in ("tus", "3", "6") or upload.is_complete):
                self.completed(upload)

    @rule(upload=uploads, node=nodes)
    def download(self, upload: Upload, node: int) -> None:
        """GET returns whole files only, and their own bytes."""
        fates = upload.fates(upload.owner, self.world.now())
        reply = self.send(node, upload.owner, Request("GET", upload.path, {}))
        if self.store_is_down and reply.status in BROKEN:
            return
        if reply.status == 200:
            assert reply.body == upload.content, "It returns other bytes."
            assert FOUND in fates and upload.high == len(upload.content)
        else:
            assert reply.status in (404, 410, 423, 425)
            assert not upload.is_complete or fates != {FOUND} or upload.kind == "part", "A whole file is not found."

    @rule(upload=uploads, node=nodes, method=st.sampled_from(["HEAD", "GET", "PATCH", "DELETE"]))
    def come_as_another(self, upload: Upload, node: int, method: str) -> None:
        """Nobody else finds an upload."""
        other = "bob" if upload.owner == "ann" else "ann"
        headers = self.append("tus", upload.low, is_last=False) if method == "PATCH" else self.fields("tus")
        body = upload.content[upload.low : upload.low + 1] if method == "PATCH" else b""
        reply = self.send(node, other, Request(method, upload.path, headers, body))
        assert reply.status == 404, "Somebody else's upload is answered."

    # --- removal ---

    @rule(upload=uploads, node=nodes, dialect=dialects)
    def delete(self, upload: Upload, node: int, dialect: str) -> None:
        """DELETE."""
        fates = upload.fates(upload.owner, self.world.now())
        reply = self.send(node, upload.owner, Request("DELETE", upload.path, self.fields(dialect)))
        if reply.status in BUSY | BROKEN and (upload.holders or self.store_is_down):
            upload.may_be_gone = True
            self.maybe_taken(upload)
            return
        if reply.status == 204:
            assert fates != {MISSING}, "What is gone was removed again."
            self.taken(upload)
            upload.is_gone = True
        else:
            assert reply.status in (404, 410) and fates != {FOUND}, "It was not removed."
            if reply.status == 404:
                upload.is_gone = upload.is_gone or MISSING in fates

    # --- concatenation ---

    @rule(target=uploads, node=nodes, first=parts, more=st.lists(parts, max_size=2))
    def concatenate(self, node: int, first: Upload, more: list[Upload]) -> object:
        """A final upload, whose parts may be unfinished."""
        chosen = [first, *more]
        now = self.world.now()
        owner = chosen[0].owner
        fates = [part.fates(owner, now) for part in chosen]
        headers = {
            **self.fields("tus"),
            "Upload-Concat": "final;" + " ".join(part.path for part in chosen),
            "Upload-Metadata": f"n {base64.b64encode(str(len(self.all)).encode()).decode()}",  # not a repetition
        }
        life = self.life()
        reply = self.send(node, owner, Request("POST", "/files/", headers))
        if reply.status in BUSY | BROKEN and (self.store_is_down or any(part.holders for part in chosen)):
            return multiple()
        if reply.status in (404, 410):
            assert any(fate != {FOUND} for fate in fates), "Parts are there."
            return multiple()
        assert reply.status == 201, reply
        assert all(FOUND in fate for fate in fates), "It uses parts that are not there."
        content = b"".join(part.content for part in chosen)
        path = urljoin("/files/", reply.headers["location"])
        upload = Upload(path, owner, content, True, "final", life, tuple(chosen), high=len(content))
        self.all.append(upload)
        for part in chosen:
            self.maybe_taken(part)
        if all(part.is_complete for part in chosen):
            self.completed(upload)
            self.completed(chosen[0])
        return upload

    # --- flow.js ---

    @rule(target=files, owner=owners, size=st.integers(1, 60), chunk=st.integers(5, 30))
    def choose_file(self, owner: str, size: int, chunk: int) -> File:
        """A client has a file, and has sent nothing of it."""
        name = f"{len(self.sent_files)}.bin"
        file = File(owner, name, content_of(1000 + len(self.sent_files), size), chunk, (0, 0))
        self.sent_files.append(file)
        return file

    def query(self, file: File, number: int) -> str:
        size, chunk = len(file.content), file.chunk
        return "/flow/?" + urlencode(
            {
                "flowChunkNumber": number,
                "flowChunkSize": chunk,
                "flowTotalSize": size,
                "flowIdentifier": file.name,
                "flowFilename": file.name,
                "flowRelativePath": file.name,
                "flowTotalChunks": self.count(file),
            }
        )

    @staticmethod
    def count(file: File) -> int:
        return max(1, len(file.content) // file.chunk)

    def is_open_question(self, file: File) -> bool:
        """Forget what is over; return whether the clock is too close to an end to tell."""
        now, blur = self.world.now(), self.world.tolerance
        ends = []
        if file.cancelled_at is not None:
            ends.append(file.cancelled_at + CANCELLED_TTL)
        elif file.completed_at is not None:
            ends.append(file.completed_at + COMPLETED_TTL)
        elif file.has or file.may_have:
            ends += [*file.dies]
        if any(abs(now - end) < blur for end in ends) or (len(ends) == 2 and ends[0] < now < ends[1]):
            return True
        if ends and now >= ends[-1]:
            file.begins_again(self.life())
        return False

    @rule(file=files, node=nodes, number=st.integers(1, 12), cut=st.none() | st.none() | st.integers(0, 29))
    def send_chunk(self, file: File, node: int, number: int, cut: int | None) -> None:
        """A chunk, in any order, perhaps again, perhaps cut."""
        self.chunk(file, node, (number - 1) % self.count(file) + 1, cut)

    def chunk(self, file: File, node: int, number: int, cut: int | None) -> None:
        if self.is_open_question(file):
            return
        start = (number - 1) * file.chunk
        body = file.content[start:] if number == self.count(file) else file.content[start : start + file.chunk]
        cut = None if cut is None else min(cut, len(body) - 1)
        is_new = not file.has and not file.may_have and file.cancelled_at is None
        if is_new:
            file.dies = self.life()
        headers = {"Content-Type": "application/octet-stream"}
        reply = self.send(node, file.owner, Request("POST", self.query(file, number), headers, body, cut))
        if reply.status in BROKEN and self.store_is_down:
            file.may_have.add(number)
            file.dies = min(file.dies[0], self.life()[0]), self.life()[1] + SLACK
            return
        if file.cancelled_at is not None and (file.was_there or reply.status == 404):
            assert reply.status == 404, "A late chunk brings a cancelled file back."
            return
        if file.cancelled_at is not None:
            file.begins_again(self.life())
            is_new = True
        knows = file.completed_at is not None or number in file.has
        if cut is not None and not knows:
            if reply.status == 200 and number in file.may_have:
                knows = True
            else:
                assert reply.status == 503, "A cut chunk was taken."
                if is_new:
                    file.may_have.add(0)  # the upload exists, or not
                return
        if cut is not None and reply.status == 503:
            return  # it has the chunk, and does not mind
        assert reply.status == 200, reply
        told = json.loads(reply.body)
        assert file.id in (None, told["id"]), "One file became two uploads."
        file.id = told["id"]
        if self.sliding:
            now = self.world.now()
            file.dies = now + LIFE - SLACK - self.world.tolerance, now + LIFE + self.world.tolerance
        file.has.add(number)
        self.judge(file, told["complete"])

    def judge(self, file: File, is_complete: bool) -> None:
        """Compare what the server says about a file with what it has."""
        numbers = set(range(1, self.count(file) + 1))
        if is_complete:
            assert numbers <= file.has | file.may_have, "A file without all chunks is complete."
            file.has = numbers
            if file.completed_at is None:
                file.completed_at = self.world.now()
        else:
            assert not numbers <= file.has, "A file with all chunks is not complete."

    @rule(file=files, node=nodes, number=st.integers(1, 12))
    def ask_for_chunk(self, file: File, node: int, number: int) -> None:
        """Does the server have it?"""
        if self.is_open_question(file):
            return
        number = (number - 1) % self.count(file) + 1
        reply = self.send(node, file.owner, Request("GET", self.query(file, number), {}))
        if reply.status in BROKEN and self.store_is_down:
            return
        if file.cancelled_at is not None:
            assert reply.status in (204, 404)
        elif number in file.has:
            assert reply.status == 200, "A chunk is lost."
        else:
            assert reply.status == 204 or number in file.may_have, "It says that it has a chunk that was not sent."
        if self.sliding and reply.status == 200:
            file.dies = file.dies[0], max(file.dies[1], self.world.now() + LIFE + self.world.tolerance)

    @rule(file=files, node=nodes, late=st.none() | st.integers(1, 12))
    def cancel_file(self, file: File, node: int, late: int | None) -> None:
        """A client cancels. One of its chunks may be on the way and come later."""
        self.cancel(file, node)
        if late is not None:
            self.chunk(file, 1 - node, (late - 1) % self.count(file) + 1, None)

    def cancel(self, file: File, node: int) -> None:
        if self.is_open_question(file):
            return
        reply = self.send(node, file.owner, Request("DELETE", self.query(file, 1), {}))
        if reply.status in BROKEN and self.store_is_down:
            file.begins_again(self.life())
            file.cancelled_at, file.was_there = self.world.now(), False
            return
        assert reply.status in (204, 404), reply
        if file.has or file.may_have:
            if reply.status == 404:
                file.begins_again(self.life())
                return
            was_there = bool(file.has)
            file.begins_again(self.life())
            file.cancelled_at, file.was_there = self.world.now(), was_there

    # --- what happens to servers ---

    @rule(node=nodes)
    def clean(self, node: int) -> None:
        """flask tus delete_expired, and complete_pending."""
        reply = self.send(node, "ann", Request("POST", "/proof/clean", {}))
        if self.store_is_down:
            return
        told = json.loads(reply.body)
        assert reply.status == 200 and not told["failed"], reply
        now = self.world.now()
        for upload in self.all:
            if upload.path.rpartition("/")[2] in told["removed"]:
                assert upload.fates(upload.owner, now) != {FOUND}, "The cleaner removed a living upload."
                self.maybe_taken(upload)
            upload.cleaned(now)
        for file in self.sent_files:
            if file.id in told["removed"] and not file.cancelled_at:
                assert now >= file.dies[0], "The cleaner removed a living file."

    @rule(seconds=st.sampled_from([200.0, 400.0, 0.7 * DAY, 1.1 * DAY, 9 * DAY]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        note(f"    {seconds:.0f} seconds pass")
        self.world.advance(seconds)

    @rule(node=nodes)
    def kill(self, node: int) -> None:
        """A server is killed, and another one takes its place."""
        note(f"    server {node} is killed")
        self.world.kill(node)

    @rule(node=nodes)
    def restart(self, node: int) -> None:
        """A server is told to stop, as in a deployment, and another one takes its place."""
        note(f"    server {node} is restarted")
        self.world.restart(node)

    @rule()
    def stop_or_start_store(self) -> None:
        """The object store is killed, or started again."""
        if self.store_is_down:
            note("    the store is started again")
            self.world.start_store()
            self.store_is_down = False
        elif any(not held.is_over for held in self.requests):
            return
        elif self.world.stop_store():
            note("    the store is killed")
            self.store_is_down = True

    # --- what always holds ---

    @invariant()
    def completions_are_right(self) -> None:
        """on_complete has taken effect once for what is complete, never before, and never twice."""
        if not hasattr(self, "world"):
            return
        self.counts["steps"] += 1
        found = self.world.completions()
        for upload in self.all:
            count = found[upload.path.rpartition("/")[2]]
            if not self.world.once and count > 1:
                continue  # a database without transactions
            assert count in upload.completions or upload.is_gone, f"on_complete of {upload!r}: {count} times"
        for file in self.sent_files:
            if file.id is not None:
                count = found[file.id]
                assert count == (file.completed_at is not None) or file.may_have, f"on_complete of {file!r}: {count}"

    # --- the end ---

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if self.store_is_down:
                self.world.start_store()
                self.store_is_down = False
            self.finish()
        finally:
            for held in self.requests:
                with suppress(AssertionError):
                    if not held.is_over:
                        held.running.end(b"")

    def finish(self) -> None:
        """Every client comes back, and finishes what it can."""
        for held in self.requests:
            self.over(held, whole=False)
        for number, upload in enumerate(self.all):
            node = number % 2
            self.look(upload, node, "tus")
            if upload.kind != "final" and not upload.is_complete:
                self.finish_upload(upload, node)
        for number, upload in enumerate(self.all):
            if upload.kind == "final":
                self.look(upload, number % 2, "tus")
            self.download(upload, 1 - number % 2)
        for file in self.sent_files:
            self.finish_file(file)
        self.completions_are_right()
        kept = " ".join(self.world.kept())
        for upload in self.all:
            assert not upload.is_gone or upload.path.rpartition("/")[2] not in kept, f"{upload!r} has left bytes."

    def finish_upload(self, upload: Upload, node: int) -> None:
        if upload.fates(upload.owner, self.world.now()) != {FOUND}:
            return
        assert upload.low == upload.high, "HEAD did not tell the offset."
        body = upload.content[upload.low :]
        headers = self.append("tus", upload.low, is_last=True)
        if not upload.has_length:
            headers["Upload-Length"] = str(len(upload.content))
        self.write_it(upload, node, upload.low, body, None, None, "tus", headers, is_last=True)
        assert upload.is_complete, "It cannot be finished."

    def finish_file(self, file: File) -> None:
        for number in range(1, self.count(file) + 1):
            self.chunk(file, number % 2, number, None)
        if file.completed_at is not None:
            reply = self.send(0, file.owner, Request("GET", f"/files/{file.id}", {}))
            assert (reply.status, reply.body) == (200, file.content), "It returns other bytes."
