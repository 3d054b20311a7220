"""The settings of the app as a whole, whichever protocols it serves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from . import checks
from .base import setting
from .storage import StorageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(StorageSettings):
    """Where state and bytes are kept, and how finished uploads are served."""

    digest_block_size: int = setting(
        checks.whole(1),
        64 * 1024,
        "The block, in bytes, in which `md5` and `digest()` read a file. Also called `CHUNK_SIZE`.",
        alias="chunk_size",
    )
    lease: timedelta = setting(
        checks.seconds,
        timedelta(seconds=6),
        "How long an upload that is being finished or removed stays locked after its server crashed, in seconds or a "
        "`timedelta`. On the same machine, a dead process is noticed at once.",
    )
    downloads: str | bool = setting(
        checks.downloads,
        False,
        'Let GET return finished uploads. `True` or `"stream"`: through the app; `"redirect"`: by a link to the '
        "storage, if clients can reach it.",
    )
    link_lifetime: timedelta = setting(
        checks.link_lifetime, timedelta(minutes=5), "How long such a link works, in seconds or a `timedelta`."
    )
    inline_types: tuple[str, ...] = setting(
        checks.names(),
        (
            "application/pdf",
            "audio/mpeg",
            "audio/ogg",
            "audio/wav",
            "image/avif",
            "image/gif",
            "image/jpeg",
            "image/png",
            "image/webp",
            "text/plain",
            "video/mp4",
            "video/ogg",
            "video/webm",
        ),
        "Media types that browsers may show; all others are downloaded, without a type.",
    )
    database_uri: str = setting(
        checks.text, "", "SQLAlchemy URL of the embedded database; default: `resumable.sqlite` in the instance folder."
    )
    create_tables: bool | None = setting(
        checks.optional_flag, None, "Create the table of uploads; `None`: only for the ready-made models."
    )
