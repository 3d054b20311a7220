"""Which cases of a test are run: every case of what is tested, each in one of the places where it could be.

A test that is about 8 contents on 5 servers and in 2 versions has 80 cases. What a content does differs between
contents, and all places run the same code for it. So 8 cases are enough, if each server and each version occurs in
them. ``--thorough`` runs all.
"""

from __future__ import annotations

from collections import Counter
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import pytest

THOROUGH = "TESTS_ARE_THOROUGH"  # in the environment, if --thorough was given

# Parameters and fixtures that are places: servers, databases, storages, protocols and their dialects and versions.
PLACES = frozenset(
    {
        "database",
        "database_or_file",
        "dialect",
        "dialects",
        "library",
        "own_server",
        "protocol",
        "repository",
        "serve",
        "server",
        "shared_cluster",
        "site",
        "start",
        "storage",
        "store",
        "through",
        "times",
        "version",
    }
)
# In some folders, what server it is, and how chunks are kept.
ON_SERVERS = PLACES | {"kind", "path"}
MORE_PLACES = {**dict.fromkeys(("databases", "live", "nodes", "s3"), ON_SERVERS), "flow": PLACES | {"mode"}}


def sample(cases: Sequence[Mapping[str, Any]], places: frozenset[str]) -> list[int]:
    """Return the positions of the cases to run, given the parameters of all cases of one test.

    A parameter is only a place if it is combined with everything else.
    """
    names = [name for name in cases[0] if name in places and _is_combined(name, cases)]
    topics = {_topic(case, names) for case in cases}
    values = {(name, id(case[name])) for case in cases for name in names}
    used: Counter[Any] = Counter()
    rest = list(range(len(cases)))
    kept: list[int] = []

    def worth(at: int) -> tuple[object, ...]:
        own = [(name, id(cases[at][name])) for name in names]
        is_new = _topic(cases[at], names) in topics
        return is_new, len(values.intersection(own)), -sum(used[value] for value in own), -at

    while topics or values:
        best = max(rest, key=worth)
        rest.remove(best)
        kept.append(best)
        own = [(name, id(cases[best][name])) for name in names]
        topics.discard(_topic(cases[best], names))
        values.difference_update(own)
        used.update(own)
    return sorted(kept)


def _topic(case: Mapping[str, Any], places: Sequence[str]) -> Any:
    """What a case is about, apart from its places. Parameters of different cases with one value are one object."""
    return tuple((name, id(value)) for name, value in case.items() if name not in places)


def _is_combined(name: str, cases: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each value of a parameter occurs with each combination of the others."""
    others = {_topic(case, [name]) for case in cases}
    return len(cases) == len(others) * len({id(case[name]) for case in cases})


def of_sample(items: Sequence[pytest.Item]) -> list[bool]:
    """Whether each of the collected tests is run without ``--thorough``."""
    tests: defaultdict[Any, list[int]] = defaultdict(list)
    for at, item in enumerate(items):
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            if item.get_closest_marker("everywhere") is None:
                tests[item.parent, item.originalname].append(at)
    is_run = [item.get_closest_marker("thorough") is None for item in items]
    for positions in tests.values():
        folder = items[positions[0]].path.parent.name
        places = MORE_PLACES.get(folder, PLACES)
        usual = [at for at in positions if is_run[at]]
        if usual:
            cases: list[Mapping[str, Any]] = [_params(items[at]) for at in usual]
            kept = {usual[at] for at in sample(cases, places)}
            for at in usual:
                is_run[at] = at in kept
    return is_run


def _params(item: Any) -> Mapping[str, Any]:
    params: Mapping[str, Any] = item.callspec.params
    return params
