"""Making parts of what other objects hold, within the store where it can copy them, else through bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from ..s3.errors import Missing
from ..s3.store import Bucket
from .geometry import join
from .geometry import MIN_PART
from .uploader import Sender

_TAKES_ANY = (".amazonaws.com", ".amazonaws.com.cn")
_WANTS_EQUAL = (".r2.cloudflarestorage.com",)

Source = tuple[str, int]  # key and size
Range = tuple[str, int, int]  # key, first byte, and the byte behind the last


class EqualParts:
    """Whether the store wants all parts of an object to have one size, but for a smaller last one.

    :param said: What the settings say; ``None``: it is found out, by the store's address or by what it refuses.
    """

    def __init__(self, bucket: Bucket, said: bool | None) -> None:
        self._bucket = bucket
        self._known = said

    @property
    def are_wanted(self) -> bool | None:
        """``None``: it is not known yet."""
        if self._known is None:
            host = urlsplit(self._bucket.client.meta.endpoint_url).hostname or ""
            if host.endswith(_WANTS_EQUAL) or host.endswith(_TAKES_ANY):
                self._known = host.endswith(_WANTS_EQUAL)
        return self._known

    def learn(self, are_wanted: bool) -> None:
        """The store has shown it."""
        self._known = are_wanted


class Joiner:
    """Puts objects together as the parts of multipart uploads of ``target``.

    Every method raises ``Missing`` if a source is not there, or not as long as it should be.
    """

    def __init__(self, bucket: Bucket, sender: Sender, target: str) -> None:
        self._bucket = bucket
        self._sender = sender
        self._target = target

    def join(
        self, sources: Sequence[Source], part_size: int, minimum: int, *, equal: bool = False
    ) -> tuple[str, list[str]]:
        """A new multipart upload with all bytes of the sources, in order: its id, and the ETags of its parts.

        :param equal: The store takes only parts of one size.
        """
        multipart = self._sender.begin()
        pieces = [
            [(sources[span.source][0], span.start, span.stop) for span in piece]
            for piece in join([size for _, size in sources], part_size, minimum, equal=equal)
        ]
        etags = self.place_all(multipart, dict(enumerate(pieces, 1)))
        return multipart, [etags[number] for number in sorted(etags)]

    def place_all(self, multipart: str, pieces: dict[int, list[Range]]) -> dict[int, str]:
        """Make several parts, some at once; their ETags by number."""
        return side_by_side(
            self._sender, {number: partial(self._place, multipart, number, piece) for number, piece in pieces.items()}
        )

    def _place(self, multipart: str, number: int, piece: list[Range]) -> str:
        size = sum(stop - start for _, start, stop in piece)
        if len(piece) == 1 and size >= MIN_PART:
            return self._bucket.copy_part(self._target, multipart, number, *piece[0])
        buffer = self._sender.buffer(size)
        try:
            for key, start, stop in piece:
                self._sender.load_range(key, start, stop, buffer)
            return self._sender.put_part(multipart, number, buffer)
        finally:
            buffer.close()


def side_by_side(sender: Sender, acts: dict[int, Callable[[], str]]) -> dict[int, str]:
    """Do several things, some at once; their results under the same numbers. Raises ``Missing`` with the number."""
    futures = {number: sender.submit(act) for number, act in acts.items()}
    results = {}
    for number, future in futures.items():
        try:
            results[number] = future.result()
        except Missing as error:
            raise Missing(number) from error
    return results
