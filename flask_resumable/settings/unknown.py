"""Finds keys in ``app.config`` that look like settings of ours but set nothing. Most of them are typos."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from difflib import get_close_matches
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

_ALIKE = 0.75  # how similar the name of a setting must be to be suggested
_ALIKE_PREFIX = 0.85
_LONG = 6  # the length from which a prefix can be recognized although letters of it are wrong
_FLASK = "FLASK_"  # what Config.from_prefixed_env takes away, and other ways of reading the environment leave


def unknown_keys(
    config: Mapping[str, Any], known: Iterable[str], prefixes: Iterable[str], foreign: Sequence[str]
) -> list[str]:
    """List the keys that have one of our prefixes, or nearly, and set nothing.

    :param known: The keys that set something.
    :param foreign: Keys of other code, or patterns with ``*``, to leave out.
    """
    finder = _finder(frozenset(known), frozenset(prefixes))
    return [
        f"{key}: {problem}"
        for key, value in config.items()
        if isinstance(key, str)
        and key not in finder.known
        and (problem := finder.problem(key, value, config))
        and not any(fnmatchcase(key, pattern) for pattern in foreign)
    ]


@lru_cache(maxsize=1)  # tests make an app for each test
def _finder(known: frozenset[str], prefixes: frozenset[str]) -> _Finder:
    return _Finder(known, prefixes)


class _Finder:
    def __init__(self, known: frozenset[str], prefixes: frozenset[str]) -> None:
        self.known = known
        self._prefixes = tuple(sorted(prefixes))
        self._not_meant: set[str] = set()  # keys that have turned out not to be ours, such as Flask's own
        self._squashed = {_squash(key): key for key in sorted(self.known)}
        self._by_name: dict[str, list[str]] = {}
        for key in sorted(self.known):
            self._by_name.setdefault(key.partition("_")[2], []).append(key)

    def problem(self, key: str, value: object, config: Mapping[str, Any]) -> str | None:
        """Return what is wrong with a key that sets nothing, or ``None`` if it is not ours."""
        if key.startswith(self._prefixes):
            near = self._near(key)
            return f"unknown setting; did you mean {' or '.join(near)}?" if near else f"unknown setting; {_NOT_OURS}"
        nested = [f"{key}_{name}" for name in value] if isinstance(value, Mapping) else []
        if f"{key}_" in self._prefixes and self.known & {*nested}:
            return f"settings are not nested: use {' and '.join(nested)}, with a single underscore"
        near = [] if key in self._not_meant else self._meant(key)
        if not near:
            self._not_meant.add(key)
        if not near or (key.upper().startswith(_FLASK) and near[0] in config):
            return None
        return f"unknown setting; did you mean {' or '.join(near)}? If not, {_NOT_OURS}"

    def _meant(self, key: str) -> list[str]:
        """Return the keys that were meant by one that does not have any of our prefixes."""
        plain = re.sub(r"[^A-Z0-9]+", "_", key.upper())
        while plain.startswith(_FLASK):
            plain = plain.removeprefix(_FLASK)
        squashed = _squash(plain)
        if squashed in self._squashed:
            return [self._squashed[squashed]]
        if plain != key and plain.startswith(self._prefixes):
            return self._near(plain)
        for prefix in self._near_prefixes(plain):
            rest = plain.partition("_")[2]
            if prefix + rest in self.known:
                return [prefix + rest]
            if len(prefix) > _LONG:
                return self._near(prefix + rest)
        return []

    def _near_prefixes(self, key: str) -> Iterator[str]:
        """Yield our prefixes that the first word of a key may stand for. Other code has words such as ``BUS``."""
        word = key.partition("_")[0]
        for prefix in self._prefixes:
            own = prefix.rstrip("_")
            is_long = len(prefix) > _LONG
            if (is_long and SequenceMatcher(None, word, own).ratio() >= _ALIKE_PREFIX) or (
                not is_long and (word == f"{own}JS" or _is_mistyped(word, own))
            ):
                yield prefix

    def _near(self, key: str) -> list[str]:
        """Return the keys that are most likely meant by one that has one of our prefixes, or none."""
        prefix, _, name = key.partition("_")
        for candidate in (name, *get_close_matches(name, self._by_name, n=1, cutoff=_ALIKE)):
            keys = self._by_name.get(candidate, [])
            if keys:
                return [own] if (own := f"{prefix}_{candidate}") in keys else keys
        return get_close_matches(key, self.known, n=1, cutoff=_ALIKE)


_NOT_OURS = "list the key in RESUMABLE_FOREIGN_KEYS if other code reads it"


def _squash(key: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "", key.upper())


def _is_mistyped(word: str, own: str) -> bool:
    """Whether two neighboring letters of a short word are swapped, or one is doubled."""
    swapped = {own[:i] + own[i + 1] + own[i] + own[i + 2 :] for i in range(len(own) - 1)}
    doubled = {own[:i] + own[i] + own[i:] for i in range(len(own))}
    return word != own and word in swapped | doubled
