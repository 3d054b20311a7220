"""What one record, and the bytes of one upload, would do if all that happens to them happened one after another."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

from .linearizable import Operation

LOST, LOCKED, NOTHING = "lost", "locked", None  # results
UNKNOWN = "unknown"  # of an operation that never returned


class Record(NamedTuple):
    """A record as far as claims matter. Times are milliseconds."""

    offset: int
    fence: int
    version: int
    until: int | None


def record(state: Record, operation: Operation) -> Iterator[Record]:
    """The acts of :class:`~flask_resumable.interfaces.StateRepository` on one record.

    An operation that was never answered may have had any result, so what it changes is tried; a fence that nobody was
    told is taken to be the next version, as in SQL.
    """
    yield from _RECORD[operation.act](state, operation.result, *operation.arguments)


def _get(state: Record, result: Any) -> Iterator[Record]:
    if result in (UNKNOWN, tuple(state)):
        yield state


def _claim(state: Record, result: Any, now: int, until: int, over: int | None) -> Iterator[Record]:
    is_held = state.until is not None and state.until > now and state.fence != over
    if result == LOCKED or (result == UNKNOWN and is_held):
        yield state  # it may always give up, when others are faster
    elif not is_held:
        # Nobody saw the fence of a claim that was not answered. SQL numbers it by the version, MongoDB one by one.
        fences = {state.version + 1, state.fence + 1} if result == UNKNOWN else {result[1]}
        offset = state.offset if result == UNKNOWN else result[0]
        for fence in sorted(fences):
            if offset == state.offset and fence > state.fence:
                yield Record(state.offset, fence, state.version + 1, until)


def _claim_free(state: Record, result: Any, now: int, until: int) -> Iterator[Record]:
    if result is NOTHING or (result == UNKNOWN and state.until is not None):
        yield state  # whoever gets nothing takes the longer way
    elif state.until is None:
        yield from _claim(state, result, now, until, None)


def _save(state: Record, result: Any, fence: int, offset: int, until: int | None) -> Iterator[Record]:
    if result == LOST or (result == UNKNOWN and state.fence != fence):
        if state.fence != fence:
            yield state
    elif state.fence == fence:
        yield Record(offset, fence, state.version + 1, until)


def _renew(state: Record, result: Any, fence: int, until: int | None) -> Iterator[Record]:
    if state.fence == fence and state.until is None:  # it was released
        if result in (LOST, UNKNOWN):
            yield state
    else:
        yield from _save(state, result, fence, state.offset, until)


def _release(state: Record, result: Any, fence: int) -> Iterator[Record]:
    yield from _save(state, UNKNOWN, fence, state.offset, None)


def _save_progress(state: Record, result: Any, version: int, offset: int) -> Iterator[Record]:
    is_known = state.version == version
    if result in (UNKNOWN, is_known):
        yield state._replace(offset=offset, version=version + 1) if is_known else state


def _amend(state: Record, result: Any, now: int) -> Iterator[Record]:
    is_held = state.until is not None and state.until > now
    if result == LOCKED or (result == UNKNOWN and is_held):
        yield state
    elif not is_held and result in (UNKNOWN, state.offset + 1):
        for fence in (state.version + 1, state.fence + 1):  # repositories count differently
            for until in {None, state.until}:
                yield Record(state.offset + 1, fence, state.version + 1, until)


_RECORD: dict[str, Callable[..., Iterator[Record]]] = {
    "get": _get,
    "claim": _claim,
    "claim_free": _claim_free,
    "save": _save,
    "renew": _renew,
    "release": _release,
    "save_progress": _save_progress,
    "amend": _amend,
}


def content(state: bytes, operation: Operation) -> Iterator[bytes]:
    """The bytes of an upload, of which each says which request sent it.

    A request with several bytes is an operation for each, in their order. Once another request has written, an older
    one must not write any more, so a byte comes either to its place after one of the same request, or first.
    """
    match operation.act, operation.arguments:
        case "look", ():
            if operation.result == len(state):
                yield state
        case "read", ():
            if operation.result == state:
                yield state
        case "append", (start, number, writer):
            may_write = len(state) == start + number and (number == 0 or state[-1] == writer)
            if may_write:
                yield state + bytes([writer])
            if not operation.result:  # it was not answered, or was refused after some of its bytes
                yield state
