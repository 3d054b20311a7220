"""Makes parts from other objects: within the store if it can copy them, otherwise through bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from functools import partial

from .errors import Missing
from .geometry import join
from .geometry import Piece
from .store import ObjectStore
from .store import StoreTraits
from .uploader import Uploader

Source = tuple[str, int]  # key and size
Range = tuple[str, int, int]  # key, first byte, and the byte after the last


class EqualParts:
    """Knows whether the store requires equal parts, except for a smaller last one."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._learned: bool | None = None

    @property
    def are_wanted(self) -> bool | None:
        """Whether it does, or ``None`` if that is not known yet."""
        return self._store.equal_parts if self._learned is None else self._learned

    def learn(self, are_wanted: bool) -> None:
        """Remember what the store has shown."""
        self._learned = are_wanted


class Composer:
    """Makes the parts of multipart uploads of ``target`` from other objects.

    Every method raises ``Missing`` if a source does not exist or is too short.
    """

    def __init__(self, store: ObjectStore, uploader: Uploader, target: str) -> None:
        self._store = store
        self._uploader = uploader
        self._target = target

    def compose(self, sources: Sequence[Source], part_size: int, *, equal: bool = False) -> tuple[str, list[str]]:
        """Join the sources in a new multipart upload. Return its id and the tags of its parts.

        :param equal: Whether the store requires equal parts.
        """
        multipart = self._uploader.begin()
        pieces = [
            [(sources[span.source][0], span.start, span.stop) for span in piece]
            for piece in pieces_of([size for _, size in sources], part_size, self._store.traits, equal=equal)
        ]
        tags = self.place_all(multipart, dict(enumerate(pieces, 1)))
        return multipart, [tags[number] for number in sorted(tags)]

    def place_all(self, multipart: str, pieces: dict[int, list[Range]]) -> dict[int, str]:
        """Make several parts, some of them at once, and return their tags by number."""
        return side_by_side(
            self._uploader, {number: partial(self._place, multipart, number, piece) for number, piece in pieces.items()}
        )

    def _place(self, multipart: str, number: int, piece: list[Range]) -> str:
        size = sum(stop - start for _, start, stop in piece)
        traits = self._store.traits
        if traits.copies_parts and len(piece) == 1 and size >= traits.min_part_copy:
            return self._store.copy_part(self._target, multipart, number, *piece[0])
        buffer = self._uploader.buffer(size)
        try:
            for key, start, stop in piece:
                self._uploader.load_range(key, start, stop, buffer)
            return self._store.put_part(self._target, multipart, number, self._uploader.content(buffer))
        finally:
            buffer.close()


def pieces_of(sizes: Sequence[int], part_size: int, traits: StoreTraits, *, equal: bool = False) -> list[Piece]:
    """Divide sources of these sizes into the parts of one object. Parts that the store copies are large."""
    return join(sizes, part_size, traits.min_part, equal=equal, copies=traits.copies_parts)


def side_by_side(uploader: Uploader, acts: dict[int, Callable[[], str]]) -> dict[int, str]:
    """Call several functions, some at once, and return their results by number. Raises ``Missing(number)``."""
    futures = {number: uploader.submit(act) for number, act in acts.items()}
    results = {}
    for number, future in futures.items():
        try:
            results[number] = future.result()
        except Missing as error:
            raise Missing(number) from error
    return results
