"""Writing one request's content to the store, part by part, while more is coming in."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures import wait
from dataclasses import replace

from ...core.upload import JSONObject
from ...core.upload import Upload
from ...errors import BytesLost
from ...errors import TooLarge
from ...errors import Unavailable
from ...interfaces import WriterCapabilities
from .buffer import Buffer
from .errors import Missing
from .geometry import MAX_OBJECT
from .geometry import MAX_PARTS
from .keys import fresh
from .state import MultipartState
from .uploader import Uploader

_AHEAD = 8  # parts that a note allows in advance
_RENEW = 4  # of them left: time for the next note
_WAITING = 2  # full parts that wait for a note; then they go into objects of their own, which need none
_PROGRESS = 30.0  # seconds between two notes of what is done
_TAIL = 30.0  # seconds after which a part that fills slowly is kept as it is
_MANY_TAILS = 32


def too_many_parts(limit: int) -> TooLarge:
    """An upload that began with a length unknown has more than its parts can hold."""
    return TooLarge(
        f"An upload that begins without a length may have at most {limit} bytes; declare its length first.", limit
    )


class MultipartWriter:
    """Appends to the unfinished bytes; see :class:`~flask_resumable.interfaces.capabilities.Paced`.

    All but the uploads of parts happens in the thread of the request.
    """

    def __init__(self, uploader: Uploader, upload: Upload, state: MultipartState, start: int) -> None:
        self._uploader = uploader
        self._length = upload.length
        self._before = state  # what stays true if nothing of this write counts
        self._state = state  # what is true so far
        self._start = start
        self._position = start
        self._filling: Buffer | None = None  # what came for the part with the number below, after the tails
        self._number = state.next_number
        self._full: deque[tuple[int, Buffer]] = deque()  # in the order of their numbers
        self._flying: dict[Future[str], tuple[int, Buffer]] = {}
        self._landed: dict[int, str] = {}
        self._doubtful = 0  # a part below this number may have arrived, though nobody knows
        self._allowed = 0  # parts below this number may be uploaded: the record says so
        self._asked = 0  # the same, once the record says so
        self._unneeded = state.superseded  # the record does not need them any more
        self._has_failed = False
        self._saved_at = self._kept_at = time.monotonic()

    @property
    def capabilities(self) -> WriterCapabilities:
        return WriterCapabilities(paced=self)

    # --- taking content in ---

    def write(self, block: bytes | memoryview, /) -> None:
        view = memoryview(block)
        while view:
            room = self._state.geometry.stop(self._number, self._length) - self._position
            if room <= 0:
                raise TooLarge(f"The store accepts objects of at most {MAX_OBJECT} bytes.", MAX_OBJECT)
            piece, view = view[:room], view[room:]
            self._fill(piece)
            if len(piece) == room and not self._is_at_end:
                self._queue()
        self._pump(patience=_WAITING)

    def _fill(self, piece: memoryview) -> None:
        if self._filling is None:
            if self._number > MAX_PARTS:
                raise too_many_parts(self._state.geometry.stop(MAX_PARTS))
            end = self._state.geometry.stop(self._number, self._length)
            self._filling = self._uploader.buffer(end - self._position)
        self._filling.write(piece)
        self._position += len(piece)

    @property
    def _is_at_end(self) -> bool:
        return self._position == self._length

    def _queue(self) -> None:
        """The part is full: on with the next."""
        assert self._filling is not None
        self._full.append((self._number, self._with_tails(self._filling)))
        self._filling = None
        self._number += 1

    def _with_tails(self, rest: Buffer) -> Buffer:
        """The whole part: what is kept of it already, and the rest."""
        if self._number != self._state.next_number or not self._state.tails:
            return rest
        whole = self._gathered(rest)
        rest.close()
        return whole

    def _gathered(self, rest: Buffer) -> Buffer:
        """The beginning of a part that is in the tails, and the rest of what came for it."""
        whole = self._uploader.buffer(self._position - self._state.geometry.start(self._number))
        try:
            offset = self._state.end_of_parts(self._length)
            for name, size in self._state.tails:
                try:
                    self._uploader.load(name, size, whole)
                except Missing:
                    raise BytesLost(offset) from None
                offset += size
            rest.append_to(whole, self._kept_of(rest))
        except BaseException:
            whole.close()
            raise
        return whole

    def _kept_of(self, filling: Buffer) -> int:
        """How many bytes of this buffer are in the tails, too."""
        return max(0, self._state.stop(self._length) - (self._position - filling.size))

    # --- sending parts ---

    def _pump(self, patience: int) -> None:
        """Send the full parts that may be sent; if more than ``patience`` of them may not, make objects of these."""
        self._collect()
        while self._full:
            number, buffer = self._full[0]
            is_direct = self._state.tainted <= number < self._allowed
            if not is_direct and number >= self._state.tainted and len(self._full) <= patience:
                return
            while len(self._flying) >= self._uploader.at_once:
                self._collect(block=True)
            self._full.popleft()
            self._flying[self._send(number, buffer, is_direct=is_direct)] = number, buffer

    def _send(self, number: int, buffer: Buffer, *, is_direct: bool) -> Future[str]:
        if is_direct:
            assert self._state.multipart is not None
            return self._uploader.send_part(self._state.multipart, number, buffer)
        return self._uploader.stage_part(fresh("part", number), buffer)

    def _collect(self, *, block: bool = False) -> None:
        """Note what has arrived. Raises what kept a part from arriving."""
        if block and self._flying:
            wait(self._flying, return_when="FIRST_COMPLETED")
        for future in [future for future in self._flying if future.done()]:
            number, buffer = self._flying.pop(future)
            buffer.close()
            try:
                self._landed[number] = future.result()
            except Missing:
                self._has_failed = True
                raise BytesLost(0) from None  # the multipart upload is gone, and all its parts with it
            except BaseException:
                self._has_failed = True
                self._doubtful = max(self._doubtful, number + 1)
                raise
        while (number := self._state.next_number) in self._landed:
            self._count(self._landed.pop(number))

    def _count(self, part: str) -> None:
        """One part more is there; its beginning need not be kept any longer."""
        names = tuple(name for name, _ in self._state.tails)
        superseded = (*self._state.superseded, *names)
        self._state = replace(self._state, parts=(*self._state.parts, part), tails=(), superseded=superseded)

    def _wait_for_all(self) -> None:
        self._pump(patience=0)
        while self._flying:
            self._collect(block=True)

    # --- what the record is to say ---

    @property
    def is_due(self) -> bool:
        self._collect()
        now = time.monotonic()
        if self._full and self._full[0][0] >= self._allowed:
            return True
        if self._allowed and self._number > self._allowed - _RENEW:
            return True
        has_news = self._state.end_of_parts(self._length) > self._before.end_of_parts(self._length)
        return now - self._saved_at >= (_PROGRESS if has_news else _TAIL)

    def checkpoint(self, *, counts: bool) -> tuple[int, JSONObject]:
        self._collect()
        # Content that does not count yet must leave no parts after an unknown end: some stores complete nothing then.
        if (self._full or self._allowed) and (counts or self._length is not None):
            if self._state.multipart is None:
                multipart = self._uploader.begin()
                self._state = replace(self._state, multipart=multipart)
                self._before = replace(self._before, multipart=multipart)
            self._asked = min(self._number + _AHEAD, MAX_PARTS + 1)
        if not counts:
            return 0, replace(self._before, busy=self._asked).to_json()
        is_settled = not self._full and not self._flying
        if is_settled and time.monotonic() - self._kept_at >= _TAIL:
            self._keep_tail()
        self._unneeded = self._state.superseded
        return self._done(busy=self._asked)

    def saved(self) -> None:
        self._allowed = self._asked
        self._saved_at = time.monotonic()
        self._forget()
        self._pump(patience=_WAITING)

    def _forget(self) -> None:
        """Remove the helpers that no record needs any more."""
        gone, self._unneeded = set(self._unneeded), ()
        self._uploader.forget(gone)
        self._state = self._state.without_superseded(gone)
        self._before = self._before.without_superseded(gone)

    def _done(self, *, busy: int) -> tuple[int, JSONObject]:
        return self._state.stop(self._length) - self._start, replace(self._state, busy=busy).to_json()

    def flush(self) -> JSONObject:
        if self._has_failed:
            raise Unavailable("An earlier part could not be stored.")
        self._wait_for_all()
        if self._filling is not None and self._kept_of(self._filling) < self._filling.size:
            is_allowed = self._state.tainted <= self._number < self._allowed
            if self._is_at_end and is_allowed:
                self._queue()
                self._wait_for_all()
            else:
                self._keep_tail()
        self._allowed = self._asked = 0  # a later writer may use all numbers
        self._forget()
        return self._done(busy=0)[1]

    def conclude(self, *, counts: bool) -> tuple[int, JSONObject]:
        if counts:
            try:
                stored = self.flush()
                return self._state.stop(self._length) - self._start, stored
            except Unavailable:
                pass
        self._land_quietly()
        self._allowed = self._asked = 0
        state = self._state if counts else self._before
        state = replace(state, tainted=max(state.tainted, self._doubtful))
        return (state.stop(self._length) - self._start if counts else 0), state.to_json()

    def _land_quietly(self) -> None:
        """Wait for what is being sent, whether it arrives or not."""
        while self._flying:
            try:
                self._collect(block=True)
            except Unavailable:
                continue

    # --- what does not fill a part ---

    def _keep_tail(self) -> None:
        """Keep what came for the part that is being filled, beside what is kept of it already."""
        self._kept_at = time.monotonic()
        filling = self._filling
        if filling is None or self._kept_of(filling) == filling.size:
            return
        name = fresh("tail", self._number)
        if len(self._state.tails) < _MANY_TAILS:
            kept = self._kept_of(filling)
            self._uploader.keep(name, filling, kept)
            self._state = replace(self._state, tails=(*self._state.tails, (name, filling.size - kept)))
            return
        whole = self._gathered(filling)
        try:
            self._uploader.keep(name, whole, 0)
            tails = ((name, whole.size),)
        finally:
            whole.close()
        superseded = (*self._state.superseded, *(name for name, _ in self._state.tails))
        self._state = replace(self._state, tails=tails, superseded=superseded)

    # --- the end ---

    def close(self) -> None:
        """Stop what is still being sent, and drop what was not made durable."""
        self._uploader.stop()
        for buffer in [buffer for _, buffer in (*self._full, *self._flying.values())]:
            buffer.close()
        if self._filling is not None:
            self._filling.close()
