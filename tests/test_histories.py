"""The checker of histories: what it must accept, and what it must find; and some histories of real processes.

``python -m proof histories`` plays thousands of them, on every database.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from proof.histories.campaign import play
from proof.histories.campaign import play_mutant
from proof.histories.linearizable import NEVER
from proof.histories.linearizable import Operation
from proof.histories.linearizable import violation
from proof.histories.specifications import content
from proof.histories.specifications import LOCKED
from proof.histories.specifications import LOST
from proof.histories.specifications import Record
from proof.histories.specifications import record
from proof.histories.specifications import UNKNOWN

FREE = Record(0, 1, 1, None)


def register(state: int, operation: Operation) -> Iterator[int]:
    """A number that is written and read."""
    if operation.act == "write":
        yield operation.arguments[0]
    elif operation.result in (state, UNKNOWN):
        yield state


def write(value: int, invoked: int, returned: int = NEVER) -> Operation:
    return Operation("write", (value,), None, invoked, returned)


def read(value: int, invoked: int, returned: int) -> Operation:
    return Operation("read", (), value, invoked, returned)


REGISTER = {
    "one after another": (True, [write(1, 0, 1), read(1, 2, 3)]),
    "a stale read": (False, [write(1, 0, 1), read(0, 2, 3)]),
    "a read beside a write sees either": (True, [write(1, 0, 9), read(0, 1, 2), read(1, 3, 4)]),
    "a read does not go back": (False, [write(1, 0, 9), read(1, 1, 2), read(0, 3, 4)]),
    "two reads side by side go either way": (True, [write(1, 0, 9), read(1, 1, 4), read(0, 2, 3)]),
    "a write that never returned had its effect": (True, [write(1, 0), read(0, 1, 2), read(1, 8, 9)]),
    "a write that never returned had none": (True, [write(1, 0), read(0, 8, 9)]),
    "not before it was invoked": (False, [read(1, 0, 1), write(1, 2)]),
    "two writers, one order for all": (
        False,
        [write(1, 0, 9), write(2, 0, 9), read(1, 10, 11), read(2, 12, 13)],
    ),
    "writes side by side, reads see both": (True, [write(1, 0, 9), write(2, 0, 9), read(1, 1, 2), read(2, 3, 4)]),
    "nothing happened": (True, []),
}


@pytest.mark.parametrize("name", REGISTER)
def test_histories_of_a_register(name: str) -> None:
    """The textbook's cases, in whatever order the operations are listed."""
    is_good, operations = REGISTER[name]
    for listed in permutations(operations):
        assert (violation(listed, 0, register) is None) is is_good


def test_a_violation_says_where_it_is() -> None:
    """The farthest state, and what did not fit there."""
    stale = read(0, 2, 3)
    found = violation([write(1, 0, 1), stale], 0, register)
    assert found is not None
    assert (found.state, found.ordered, found.stuck) == (1, 1, (stale,))


def test_an_operation_comes_after_its_predecessor() -> None:
    """Although both are under way at the same time."""
    first, second = Operation("write", (1,), None, 0, 9), Operation("write", (2,), None, 0, 9, after=0)
    assert violation([first, second, read(2, 10, 11)], 0, register) is None
    assert violation([first, second, read(1, 10, 11)], 0, register) is not None
    assert violation([second_of(1), write(1, 0, 9), read(2, 10, 11)], 0, register) is None


def second_of(number: int) -> Operation:
    return Operation("write", (2,), None, 0, 9, after=number)


def test_what_was_made_in_some_order_is_accepted() -> None:
    """Histories of a register that was used correctly by four processes, and the same with one wrong read."""
    for seed in range(30):
        chance, state, operations = Random(seed), 0, []
        for at in range(0, 800, 10):  # takes effect here, and lasts from some time before to some time after
            invoked, returned = at - chance.randrange(40), at + 1 + chance.randrange(40)
            if chance.random() < 0.5:
                state = at
                operations.append(write(state, invoked, returned))
            else:
                operations.append(read(state, invoked, returned))
        assert violation(operations, 0, register) is None
        operations.append(read(-1, 900, 901))
        assert violation(operations, 0, register) is not None


def steps(*acts: tuple[str, tuple[object, ...], object]) -> list[Operation]:
    """Operations one after another."""
    return [Operation(act, values, result, 10 * at, 10 * at + 5) for at, (act, values, result) in enumerate(acts)]


RECORDS: dict[str, tuple[bool, list[tuple[str, tuple[object, ...], object]]]] = {
    "a claim, a save, a release": (
        True,
        [
            ("claim", (0, 30, None), (0, 2)),
            ("save", (2, 5, 40), None),
            ("get", (), (5, 2, 3, 40)),
            ("release", (2,), None),
            ("claim_free", (0, 30), (5, 5)),
        ],
    ),
    "a claim is respected": (True, [("claim", (0, 30, None), (0, 2)), ("claim", (29, 60, None), LOCKED)]),
    "a claim is not respected": (False, [("claim", (0, 30, None), (0, 2)), ("claim", (29, 60, None), (0, 3))]),
    "a claim has run out": (True, [("claim", (0, 30, None), (0, 2)), ("claim", (30, 60, None), (0, 3))]),
    "a claim is taken over": (True, [("claim", (0, 30, None), (0, 2)), ("claim", (1, 60, 2), (0, 3))]),
    "another claim is taken over": (False, [("claim", (0, 30, None), (0, 2)), ("claim", (1, 60, 1), (0, 3))]),
    "a fence comes again": (False, [("claim", (0, 30, None), (0, 2)), ("claim", (30, 60, None), (0, 2))]),
    "a claim has not read the last save": (
        False,
        [("claim", (0, 9, None), (0, 2)), ("save", (2, 5, None), None), ("claim", (0, 9, None), (0, 4))],
    ),
    "an old holder saves": (
        False,
        [("claim", (0, 9, None), (0, 2)), ("claim", (9, 20, None), (0, 3)), ("save", (2, 5, None), None)],
    ),
    "an old holder is refused": (
        True,
        [("claim", (0, 9, None), (0, 2)), ("claim", (9, 20, None), (0, 3)), ("save", (2, 5, None), LOST)],
    ),
    "a holder is refused": (False, [("claim", (0, 9, None), (0, 2)), ("save", (2, 5, None), LOST)]),
    "an old holder releases": (
        False,
        [
            ("claim", (0, 9, None), (0, 2)),
            ("claim", (9, 20, None), (0, 3)),
            ("release", (2,), None),
            ("get", (), (0, 3, 4, None)),
        ],
    ),
    "progress is told": (True, [("save_progress", (1, 5), True), ("get", (), (5, 1, 2, None))]),
    "progress of an old version is told": (False, [("save_progress", (0, 5), True)]),
    "progress goes back": (
        False,
        [("save_progress", (1, 5), True), ("save_progress", (1, 3), True), ("get", (), (3, 1, 3, None))],
    ),
    "two changes are kept": (True, [("amend", (0,), 1), ("amend", (0,), 2)]),
    "a change is lost": (False, [("amend", (0,), 1), ("amend", (0,), 1)]),
    "a change beside a claim": (False, [("claim", (0, 9, None), (0, 2)), ("amend", (5,), 1)]),
    "a holder that slept beyond its claim": (
        False,
        [("claim", (0, 9, None), (0, 2)), ("amend", (9,), 1), ("save", (2, 0, None), None)],
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_histories_of_a_record(name: str) -> None:
    """What claims, saves and changes must do, and what they must not."""
    is_good, acts = RECORDS[name]
    assert (violation(steps(*acts), FREE, record) is None) is is_good


def append(at: int, count: int, writer: int, result: bool, times: tuple[int, int], first: int) -> list[Operation]:
    """A request with some bytes."""
    return [
        Operation("append", (at, number, writer), result, *times, after=first + number - 1 if number else None)
        for number in range(count)
    ]


def look(offset: int, invoked: int, returned: int) -> Operation:
    return Operation("look", (), offset, invoked, returned)


def whole(content: bytes) -> Operation:
    return Operation("read", (), content, 1000, 1001)


CONTENTS = {
    "one after another": (True, [*append(0, 3, 1, True, (0, 5), 0), look(3, 6, 7), whole(b"\1\1\1")]),
    "seen on its way": (True, [*append(0, 3, 1, True, (0, 9), 0), look(1, 1, 2), look(2, 3, 4), whole(b"\1\1\1")]),
    "the offset goes back": (False, [*append(0, 3, 1, True, (0, 9), 0), look(2, 1, 2), look(1, 3, 4)]),
    "an answered byte is lost": (False, [*append(0, 3, 1, True, (0, 9), 0), look(2, 10, 11)]),
    "cut, and continued by another": (
        True,
        [*append(0, 3, 1, False, (0, 9), 0), *append(2, 1, 2, True, (5, 9), 3), whole(b"\1\1\2")],
    ),
    "an older request writes after a newer one": (
        False,
        [*append(0, 3, 1, False, (0, 9), 0), *append(1, 1, 2, True, (5, 9), 3), whole(b"\1\2\1")],
    ),
    "both were answered at the same place": (
        False,
        [*append(0, 2, 1, True, (0, 9), 0), *append(0, 2, 2, True, (0, 9), 2)],
    ),
    "bytes of the wrong request": (False, [*append(0, 2, 1, True, (0, 9), 0), whole(b"\2\2")]),
    "a cut request writes later": (True, [*append(0, 2, 1, False, (0, NEVER), 0), look(0, 5, 6), look(2, 8, 9)]),
    "but not before it came": (False, [look(1, 1, 2), *append(0, 2, 1, False, (5, NEVER), 1)]),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_histories_of_bytes(name: str) -> None:
    """What requests that take an upload over from each other must do, and what they must not."""
    is_good, operations = CONTENTS[name]
    assert (violation(operations, b"", content) is None) is is_good


@pytest.mark.live
@pytest.mark.parametrize(("layer", "count"), [("records", 8), ("requests", 3), ("HTTP", 2)])
def test_histories_of_processes(tmp_path: Path, layer: str, count: int) -> None:
    """Four of them at a time, which are stopped, and whose clocks jump."""
    seen = play(layer, f"sqlite:///{tmp_path / 'state.sqlite'}", tmp_path / "files", 1, count)
    assert seen.faults == []
    assert seen.operations > 10 * count


@pytest.mark.live
def test_a_mistake_is_found(tmp_path: Path) -> None:
    """Otherwise the histories prove nothing."""
    assert play_mutant("a save does not check the fence", tmp_path, 1).faults
