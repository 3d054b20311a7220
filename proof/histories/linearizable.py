"""Decides whether a history of concurrent operations could have been made by one that takes them one after another.

This is the search of Wing and Gong with Lowe's memory of configurations: operations are put in an order, one after
another, as long as no operation is put before one that had returned when it was invoked, and as long as the
specification allows each result. A set of operations that leads to the same state is tried once.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import Generic
from typing import TypeVar

State = TypeVar("State", bound=Hashable)

NEVER = 2**63  # later than any time: when an operation returned whose process was killed


@dataclass(frozen=True)
class Operation:
    """What a process did, when, and what came of it. Times are those of one clock, in any unit."""

    act: str
    arguments: tuple[Any, ...]
    result: Any
    invoked: int
    returned: int = NEVER  # if it never did, it may have had its effect at any time since, or none
    after: int | None = None  # the number of an operation of the same history that must come before


# All states in which an operation with this result may leave the given one; none if the result is wrong there.
Specification = Callable[[State, Operation], Iterable[State]]


@dataclass(frozen=True)
class Violation(Generic[State]):
    """The farthest that any order came, and the operations of which none fits there."""

    state: State
    ordered: int
    stuck: tuple[Operation, ...]


def violation(
    operations: Sequence[Operation], initial: State, specification: Specification[State]
) -> Violation[State] | None:
    """Return why a history is not linearizable, or ``None`` if it is."""
    places = sorted(range(len(operations)), key=lambda number: operations[number].invoked)
    place_of = {number: place for place, number in enumerate(places)}
    history = [operations[number] for number in places]
    required = sum(1 << place for place, operation in enumerate(history) if operation.returned != NEVER)
    before = [0 if one.after is None else 1 << place_of[one.after] for one in history]
    # What nobody awaits and what changes nothing has no need of a place. Giving it every place takes hours.
    awaited = required
    for place, operation in enumerate(history):
        if operation.returned != NEVER:
            awaited |= before[place]
    farthest = Violation(initial, 0, ())
    tried = {(0, initial)}
    stack = [(0, 0, initial)]  # what is in order as a set of bits, the first place that is not, the state
    while stack:
        done, first, state = stack.pop()
        if done & required == required:
            return None
        while done >> first & 1:
            first += 1
        candidates, earliest = [], NEVER
        for place in range(first, len(history)):
            if history[place].invoked > earliest:
                break
            if not done >> place & 1:
                earliest = min(earliest, history[place].returned)
                candidates.append(place)
        fitting = [place for place in candidates if history[place].invoked <= earliest and not before[place] & ~done]
        if done.bit_count() >= farthest.ordered:
            farthest = Violation(state, done.bit_count(), tuple(history[place] for place in fitting))
        for place in reversed(fitting):
            for following in specification(state, history[place]):
                if following == state and not awaited >> place & 1:
                    continue
                configuration = (done | 1 << place, following)
                if configuration not in tried:
                    tried.add(configuration)
                    stack.append((*configuration[:1], first, following))
    return farthest
