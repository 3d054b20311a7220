"""Writes a request's content to the store, part by part, while it arrives."""

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

_AHEAD = 8  # parts that a note in the record allows in advance
_RENEW = 4  # when so many of them are left, it is time for the next note
_WAITING = 2  # full parts that wait for a note; others go into separate objects, which need no note
_PROGRESS = 30.0  # seconds between two saves of the progress
_TAIL = 30.0  # seconds after which the content of a part that fills slowly is stored
_MANY_TAILS = 32


def too_many_parts(limit: int) -> TooLarge:
    """Return the error for an upload without a length that exceeds what all of its parts can hold."""
    return TooLarge(
        f"An upload that begins without a length may have at most {limit} bytes; declare its length first.", limit
    )


class MultipartWriter:
    """Appends to an unfinished upload; see :class:`~flask_resumable.interfaces.capabilities.Paced`.

    Everything happens in the thread of the request, except that parts are sent by other threads.
    """

    def __init__(self, uploader: Uploader, upload: Upload, state: MultipartState, start: int) -> None:
        self._uploader = uploader
        self._length = upload.length
        self._before = state  # the state if nothing of this write counts
        self._state = state  # the state so far
        self._start = start
        self._position = start
        self._filling: Buffer | None = None  # the content of part ``_number``, after the tails
        self._number = state.next_number
        self._full: deque[tuple[int, Buffer]] = deque()  # ordered by number
        self._flying: dict[Future[str], tuple[int, Buffer]] = {}
        self._landed: dict[int, str] = {}
        self._doubtful = 0  # parts below this number may have been stored although sending them failed
        self._allowed = 0  # parts below this number may be sent, because the record says so
        self._asked = 0  # the same, after the record is saved
        self._unneeded = state.superseded  # helpers that the record no longer needs
        self._has_failed = False
        self._saved_at = self._kept_at = time.monotonic()

    @property
    def capabilities(self) -> WriterCapabilities:
        return WriterCapabilities(paced=self)

    # --- content ---

    def write(self, block: bytes | memoryview, /) -> None:
        view = memoryview(block)
        while view:
            room = self._state.geometry.stop(self._number, self._length) - self._position
            if room == 0 and not self._is_at_end:  # the tails are a whole part, which an earlier try could not send
                self._queue()
                continue
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
        """Queue the part, which is full, and begin the next one."""
        if self._filling is None:
            self._filling = self._uploader.buffer(0)
        self._full.append((self._number, self._with_tails(self._filling)))
        self._filling = None
        self._number += 1

    def _with_tails(self, rest: Buffer) -> Buffer:
        """Return the whole part: its tails and the rest."""
        if self._number != self._state.next_number or not self._state.tails:
            return rest
        whole = self._gathered(rest)
        rest.close()
        return whole

    def _gathered(self, rest: Buffer) -> Buffer:
        """Return a buffer with the beginning of a part, from the tails, and the rest."""
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
        """Return how many bytes of this buffer are also in the tails."""
        return max(0, self._state.stop(self._length) - (self._position - filling.size))

    # --- sending parts ---

    def _pump(self, patience: int) -> None:
        """Send the full parts that may be sent. If more than ``patience`` of them may not, store them as objects."""
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
        """Take note of the parts that were stored. Raise the error of a part that was not."""
        if block and self._flying:
            wait(self._flying, return_when="FIRST_COMPLETED")
        for future in [future for future in self._flying if future.done()]:
            number, buffer = self._flying.pop(future)
            buffer.close()
            try:
                self._landed[number] = future.result()
            except Missing:
                self._has_failed = True
                raise BytesLost(0) from None  # the multipart upload no longer exists, nor do its parts
            except BaseException:
                self._has_failed = True
                self._doubtful = max(self._doubtful, number + 1)
                raise
        while (number := self._state.next_number) in self._landed:
            self._count(self._landed.pop(number))

    def _count(self, part: str) -> None:
        """Add a stored part to the state. Its tails are no longer needed."""
        names = tuple(name for name, _ in self._state.tails)
        superseded = (*self._state.superseded, *names)
        self._state = replace(self._state, parts=(*self._state.parts, part), tails=(), superseded=superseded)

    def _wait_for_all(self) -> None:
        self._pump(patience=0)
        while self._flying:
            self._collect(block=True)

    # --- the record ---

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
        # If the length is unknown, content that does not count yet must not become parts: they could be after the end,
        # and some stores then refuse to complete the upload.
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
        """Remove the helpers that the record no longer needs."""
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
        """Wait for the parts that are being sent, whether or not they are stored."""
        while self._flying:
            try:
                self._collect(block=True)
            except Unavailable:
                continue

    # --- the remainder that does not fill a part ---

    def _keep_tail(self) -> None:
        """Store the content of the part that is being filled, next to its other tails."""
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
        """Stop sending, and drop everything that is not durable."""
        self._uploader.stop()
        for buffer in [buffer for _, buffer in (*self._full, *self._flying.values())]:
            buffer.close()
        if self._filling is not None:
            self._filling.close()
