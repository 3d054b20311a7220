"""One flow.js request: its parameters, and its chunk, received whole before anything is done with it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Mapping
from contextlib import closing
from typing import BinaryIO
from typing import cast

from flask import Request
from werkzeug.http import parse_options_header

from ...errors import BodyIncomplete
from ...errors import ClaimLost
from ...errors import InvalidRequest
from ...errors import ResumableError
from ...errors import StorageFull
from ...errors import TooLarge
from ...errors import Unavailable
from ...interfaces import Piped
from ...interfaces.chunks import IncomingChunk
from ...wsgi.body import RequestBody
from ...wsgi.first_reader import is_parsed
from ...wsgi.pipes import LEAST
from . import messages as flow
from .form import FileBegins
from .form import FormEvent
from .form import FormField
from .form import OVERHEAD
from .form import parsed_form
from .form import read_form

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DRAIN = 16 * 1024 * 1024  # bytes to read on after a refusal: browsers see no answer before they have sent all


class Intake:
    """Reads a request.

    :param body: Its content.
    :param spool: Makes room for the chunk.
    :param decide: Told the parameters when the chunk begins; whether its bytes are wanted. May refuse by raising.
    :param place: Asked then: the place of the chunk and its size in bytes, if it can be put there while it comes in.
    """

    def __init__(
        self,
        request: Request,
        body: RequestBody,
        *,
        file_field: str,
        max_size: int,
        spool: Callable[[], BinaryIO],
        decide: Callable[[Mapping[str, str]], bool],
        place: Callable[[], tuple[IncomingChunk, int] | None],
    ) -> None:
        self._request = request
        self._body = body
        self._file_field = file_field
        self._max_size = max_size
        self._spool = spool
        self._decide = decide
        self._place = place
        self._pairs = list(request.args.items(multi=True))
        # The app may have looked into the form before, for a CSRF token: then Flask has read it, to its end.
        self._is_parsed = is_parsed(request)
        self._is_wanted = True
        self._refusal: Exception | None = None
        self.has_file = False
        self.content: BinaryIO | None = None  # the chunk, if it was to be received whole first
        self.incoming: IncomingChunk | None = None  # else where it has been put
        self._room = 0  # bytes that belong there
        self.size = 0  # bytes

    @property
    def known(self) -> dict[str, str]:
        """The parameters as far as they are known, whether they make sense or not."""
        return dict(self._pairs)

    @property
    def parameters(self) -> dict[str, str]:
        """Query and form, as far as they are known.

        :raises InvalidRequest: They contradict each other.
        """
        return flow.merge(self._pairs)

    @property
    def is_kept(self) -> bool:
        """Whether ``content`` has the chunk; not if its bytes were not wanted."""
        return self.content is not None and self._is_wanted

    def read(self) -> None:
        """Read to the end.

        :raises BodyIncomplete: It was cut; nothing of it counts.
        :raises ResumableError: And whatever the request, or ``decide``, gives reason for.
        """
        if self._body.size is not None and self._body.size > self._max_size + OVERHEAD:
            raise self._too_large()
        with closing(self._events()) as events:
            for event in events:
                self._take(event)
        if self._refusal is not None:
            raise self._refusal
        if self._body.is_overlong:
            raise self._too_large()
        if not self._body.is_whole and not self._is_parsed:
            raise BodyIncomplete(0)
        if self.content is not None:
            self.content.seek(0)

    def close(self) -> None:
        """Done with the chunk."""
        for place in (self.content, self.incoming):
            if place is not None:
                place.close()

    def _events(self) -> Generator[FormEvent, None, None]:
        content_type, options = parse_options_header(self._request.headers.get("Content-Type", ""))
        if self._is_parsed:
            yield from parsed_form(self._request.form, self._request.files, self._file_field)
            return
        with closing(self._body.blocks(self._max_size + OVERHEAD)) as blocks:
            if content_type == "multipart/form-data":
                if "boundary" not in options:
                    raise InvalidRequest("The form has no boundary.")
                try:
                    yield from read_form(blocks, options["boundary"], self._file_field, self._leave)
                except ResumableError:
                    if self._refusal is not None:
                        raise self._refusal from None  # such as too large: then the end was never seen
                    # What looks like a broken form may be one that broke off.
                    if self._body.size is None or self._body.received >= self._body.size:
                        raise
                    for _ in blocks:
                        pass
                    if self._body.is_whole:
                        raise
            else:
                yield FileBegins()
                self._leave(0, (0,))
                for block in blocks:
                    # Kept, it must not be in memory that the next one may be read into.
                    yield block if self.incoming else bytes(cast(memoryview, block))

    def _take(self, event: FormEvent) -> None:
        if isinstance(event, FormField):
            self._pairs.append((event.name, event.value))
        elif isinstance(event, FileBegins):
            self._begin()
        elif event:
            self._add(event)

    def _begin(self) -> None:
        """Fields that come after the file are not known yet; then everything is decided at the end."""
        self.has_file = True
        try:
            if flow.dialect_of(self.parameters) is not None:
                self._is_wanted = self._decide(self.parameters)
                if self._is_wanted and (found := self._place()):
                    self.incoming, self._room = found
        except Exception as error:  # hooks, too, may refuse by any
            self._refuse(error)
        if self.incoming is None:
            self.content = self._spool()

    def _leave(self, held: int, behind: tuple[int, ...]) -> int:
        """How many bytes of the file nobody need look at: its size is known, and so is that nothing comes behind it."""
        if self.incoming is None or self._body.size is None or self._refusal is not None or not self._is_wanted:
            return 0
        count = self._room - self.size - held
        if count < LEAST or self._body.size - self._body.received - count not in behind:
            return 0
        self._body.unseen = count
        return count

    def _put(self, incoming: IncomingChunk, block: bytes | memoryview | Piped) -> None:
        try:
            if isinstance(block, Piped):
                incoming.write_piped(block)
            else:
                incoming.write(block)
        except ClaimLost:  # the end will show what others have made of the chunk
            self._is_wanted, self._body.unseen = False, 0

    def _add(self, block: bytes | memoryview | Piped) -> None:
        """Keep a block. It is not copied, and so must not change."""
        self.size += len(block)
        if self.size > self._max_size:
            self._refuse(self._too_large())
        if self._refusal is not None and self.size > DRAIN:
            raise self._refusal
        if self._is_wanted and self.incoming is not None:
            self._put(self.incoming, block)
        elif self._is_wanted and self.content is not None:
            try:
                self.content.write(cast(bytes, block))
            except OSError as error:
                raise (StorageFull() if error.errno in _NO_ROOM else Unavailable()) from error

    def _too_large(self) -> TooLarge:
        return TooLarge(f"Chunks may have {self._max_size} bytes at most.", self._max_size)

    def _refuse(self, error: Exception) -> None:
        self._refusal = self._refusal or error
        self._is_wanted = False
