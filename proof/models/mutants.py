"""Mistakes that the state machine must find: each breaks one promise in the code of the package."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import nullcontext
from dataclasses import dataclass
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flask_resumable.core import upload as rules
from flask_resumable.core.checksum import Checksum
from flask_resumable.core.upload import LEAVING
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.interfaces import Claim
from flask_resumable.repositories.sql.records import Records
from flask_resumable.service import transfer
from flask_resumable.service import uploads as service
from flask_resumable.service.lifecycle import Lifecycle
from flask_resumable.service.takeover import Takeover
from flask_resumable.storage.local.fence import Fence
from flask_resumable.storage.local.storage import LocalStorage


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    :param rules: The rules of the machine in which it shows. Among all others, a search for it would take an hour.
    """

    what: str
    place: Any  # a class or a module
    name: str
    made: Callable[[Any], Any]  # from the attribute, what takes its place
    rules: frozenset[str] = frozenset()  # all, if there are none

    def apply(self) -> None:
        """Make it for good."""
        setattr(self.place, self.name, self.made(vars(self.place)[self.name]))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Make it within the context."""
        before = vars(self.place)[self.name]
        self.apply()
        try:
            yield
        finally:
            setattr(self.place, self.name, before)


def _store_nothing(original: Any) -> Any:
    def store(self: Any, block: Any) -> None:
        self._position += len(block)

    return store


def _cut_is_lost(original: Any) -> Any:
    def run(self: Any, body: Any, *args: Any) -> Upload:
        upload: Upload = original(self, body, *args)
        return upload if body.is_whole else self._claimed.upload

    return run


def _any_offset(original: Any) -> Any:
    def begin(upload: Upload, write: rules.Write, *args: Any) -> Any:
        return original(upload, replace(write, start=upload.offset), *args)

    return begin


def _call_again(original: Any) -> Any:
    def finish(self: Any, claimed: Any) -> None:
        original(self, claimed)
        if not claimed.upload.is_partial:
            self.call_hook("on_complete", claimed.upload)

    return finish


def _save_anyway(original: Any) -> Any:
    def save(self: Any, upload: Upload, claim: Claim, *, until: Any) -> None:
        original(self, upload, Claim(claim.upload_id, self.get(claim.upload_id).fence), until=until)

    return save


def _saves_nothing(original: Any) -> Any:
    def save(self: Any, upload: Upload, claim: Claim, *, until: Any) -> None:
        before = self.get(upload.id)
        kept = replace(upload, received=before.received) if upload.status is Status.ACTIVE else upload
        original(self, kept, claim, until=until)

    return save


def _redeclare(original: Any) -> Any:
    return lambda upload, length, limits: replace(upload, length=length)


def _too_early(original: Any) -> Any:
    def expiry(self: Limits, upload: Upload, now: Any) -> Any:
        until = original(self, upload, now)
        return None if until is None else now + (until - now) / 2

    return expiry


def _forget(original: Any) -> Any:
    def start(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "cancelled_ttl": timedelta(seconds=-1)})

    return start


def _one_byte_early(original: Any) -> Any:
    def is_ready(self: Upload) -> bool:
        return self.length is not None and not self.awaits_completion and self.offset >= max(0, self.length - 1)

    return property(is_ready)


def _no_lock(original: Any) -> Any:
    def held(self: Fence, number: int) -> AbstractContextManager[None]:
        return nullcontext()

    return held


CONTENT = frozenset({"create", "write", "look", "download"})
HANGING = CONTENT | {"hang", "hang_on", "go_on", "take_over", "disturb", "kill_holder"}
TIME = CONTENT | {"wait", "clean"}
JOINING = frozenset({"create_part", "write", "concatenate", "download"})
CHUNKS = frozenset({"choose_file", "send_chunk", "ask_for_chunk", "cancel_file"})
REMOVAL = CONTENT | {"delete", "clean"}

MUTANTS: dict[str, Mutant] = {
    "bytes": Mutant("the offset is saved without the bytes", transfer._Transfer, "_store", _store_nothing),
    "save": Mutant("an offset is answered and not saved", Records, "save", _saves_nothing),
    "cut": Mutant("what came before a cut is lost", transfer._Transfer, "run", _cut_is_lost),
    "offset": Mutant("content at any offset is taken", rules, "begin", _any_offset, CONTENT),
    "checksum": Mutant("checksums are not compared", Checksum, "check", lambda _: lambda self, hasher: None, CONTENT),
    "unguarded": Mutant(
        "content counts before its checksum is compared",
        rules.Write,
        "is_guarded",
        lambda _: property(lambda self: False),
        CONTENT,
    ),
    "length": Mutant("a length may be declared again", rules, "_declare_length", _redeclare),
    "early": Mutant("an upload is complete one byte early", Upload, "is_ready", _one_byte_early),
    "owner": Mutant(
        "owners are not compared",
        Upload,
        "is_visible_to",
        lambda _: lambda self, owner: self.status not in LEAVING,
    ),
    "expired": Mutant("what has expired is answered", Upload, "is_expired", lambda _: lambda self, now: False, TIME),
    "lifetime": Mutant("uploads expire in half the time", Limits, "expiry", _too_early, TIME),
    "twice": Mutant("on_complete is called twice", Lifecycle, "_finish", _call_again),
    "fence": Mutant("a writer that lost its claim writes on", Fence, "held", _no_lock, HANGING),
    "claim": Mutant("a request that lost its claim saves", Records, "save", _save_anyway, HANGING),
    "look": Mutant(
        "HEAD stops the request that receives content",
        Takeover,
        "look",
        lambda _: lambda self, upload: self.make_way(None, upload),
        HANGING,
    ),
    "409": Mutant(
        "content at a wrong offset stops the request that receives content",
        Takeover,
        "make_way",
        lambda original: lambda self, at, upload: original(self, None, upload),
        HANGING,
    ),
    "recover": Mutant(
        "what a killed process has written is forgotten",
        LocalStorage,
        "recover",
        lambda _: lambda self, upload, fence: upload.offset,
        HANGING,
    ),
    "delete": Mutant(
        "removed uploads leave their bytes", LocalStorage, "delete", lambda _: lambda self, upload: None, REMOVAL
    ),
    "key": Mutant(
        "Idempotency-Key is ignored", service, "request_key_of", lambda _: lambda creation, owner: None, CONTENT
    ),
    "order": Mutant(
        "parts are joined in the wrong order",
        Lifecycle,
        "parts_of",
        lambda original: lambda self, upload, **how: original(self, upload, **how)[::-1],
        JOINING,
    ),
    "tombstone": Mutant("a late chunk brings a file back", service.UploadService, "__init__", _forget, CHUNKS),
}
