"""One flow.js request: its parameters, and its chunk, received whole before anything is done with it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Mapping
from contextlib import closing
from typing import BinaryIO

from flask import Request
from werkzeug.http import parse_options_header

from ..errors import BodyIncomplete
from ..errors import InvalidRequest
from ..errors import ResumableError
from ..errors import StorageFull
from ..errors import TooLarge
from ..errors import Unavailable
from ..sansio import flow
from .body import RequestBody
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
    ) -> None:
        self._request = request
        self._body = body
        self._file_field = file_field
        self._max_size = max_size
        self._spool = spool
        self._decide = decide
        self._pairs = list(request.args.items(multi=True))
        # The app may have looked into the form before, for a CSRF token: then Flask has read it, to its end.
        self._is_parsed = "form" in request.__dict__
        self._is_wanted = True
        self._refusal: ResumableError | None = None
        self.content: BinaryIO | None = None  # None: the request carries no file at all
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
        if self.content is not None:
            self.content.close()

    def _events(self) -> Generator[FormEvent, None, None]:
        content_type, options = parse_options_header(self._request.headers.get("Content-Type", ""))
        if content_type == "multipart/form-data" and self._is_parsed:
            yield from parsed_form(self._request.form, self._request.files, self._file_field)
            return
        with closing(self._body.blocks(self._max_size + OVERHEAD)) as blocks:
            if content_type == "multipart/form-data":
                if "boundary" not in options:
                    raise InvalidRequest("The form has no boundary.")
                try:
                    yield from read_form(blocks, options["boundary"], self._file_field)
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
                for block in blocks:
                    yield bytes(block)  # the next one may be read into the same memory

    def _take(self, event: FormEvent) -> None:
        if isinstance(event, FormField):
            self._pairs.append((event.name, event.value))
        elif isinstance(event, FileBegins):
            self._begin()
        elif event:
            self._add(event)

    def _begin(self) -> None:
        """Fields that come after the file are not known yet; then everything is decided at the end."""
        try:
            if flow.dialect_of(self.parameters) is not None:
                self._is_wanted = self._decide(self.parameters)
        except ResumableError as error:
            self._refuse(error)
        self.content = self._spool()

    def _add(self, block: bytes | memoryview) -> None:
        """Keep a block. It is not copied, and so must not change."""
        self.size += len(block)
        if self.size > self._max_size:
            self._refuse(self._too_large())
        if self._refusal is not None and self.size > DRAIN:
            raise self._refusal
        if self._is_wanted and self.content is not None:
            try:
                self.content.write(block)
            except OSError as error:
                raise (StorageFull() if error.errno in _NO_ROOM else Unavailable()) from error

    def _too_large(self) -> TooLarge:
        return TooLarge(f"Chunks may have {self._max_size} bytes at most.", self._max_size)

    def _refuse(self, error: ResumableError) -> None:
        self._refusal = self._refusal or error
        self._is_wanted = False
