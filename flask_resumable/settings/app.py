"""The settings of the app as a whole, whichever protocols it serves."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..core.disposition import INLINE_TYPES
from . import checks
from . import paths
from .base import setting
from .storage import StorageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(StorageSettings):
    """Where state and bytes are kept, and how finished uploads are served."""

    digest_block_size: int = setting(
        checks.size(1),
        64 * 1024,
        "How many bytes `md5` and `digest()` read at a time. `CHUNK_SIZE` is another name for it.",
        alias="chunk_size",
    )
    lease: timedelta = setting(
        checks.seconds,
        timedelta(seconds=6),
        "How long an upload stays locked if its server crashes while finishing or removing it, in seconds or as a "
        "`timedelta`. A dead process on the same machine is noticed at once.",
    )
    downloads: str | bool = setting(
        checks.downloads,
        False,
        'Let GET return finished uploads. `True` or `"stream"` sends them through the app. `"redirect"` sends clients '
        'to the storage, if they can reach it. `"x-accel-redirect"` lets nginx send files in `ACCEL_LOCATIONS`.',
    )
    accel_locations: Mapping[str, str] | None = setting(
        checks.locations,
        None,
        'The internal locations of nginx, and the folders that they serve, such as `{"/_uploads/": "/data/uploads"}`.',
        resolve=paths.locations,
    )
    link_lifetime: timedelta = setting(
        checks.link_lifetime,
        timedelta(minutes=5),
        'How long the link of a `"redirect"` works, in seconds or as a `timedelta`.',
    )
    inline_types: tuple[str, ...] = setting(
        checks.media_types,
        INLINE_TYPES,
        "Media types that browsers may display. All others are downloaded, without their type.",
    )
    metrics: Any = setting(
        checks.metrics,
        False,
        "Keep Prometheus metrics: `True` keeps them in the default registry, a `CollectorRegistry` in that one.",
    )
    metrics_url: str | None = setting(
        checks.optional_path,
        None,
        "The URL path of a page with the metrics, such as `/metrics`. Anybody who can reach it can read it. `None` "
        "means that there is none.",
    )
    tracing: bool = setting(
        checks.flag,
        False,
        "Make OpenTelemetry spans. They go where the OpenTelemetry SDK of the app sends them.",
    )
    max_active_uploads: int | None = setting(
        checks.optional_count,
        None,
        "How many unfinished uploads an owner may have. `None` means no limit. `quota()` can decide for each owner.",
    )
    max_reserved_bytes: int | None = setting(
        checks.optional_size(0),
        None,
        "How many bytes the unfinished uploads of an owner may have together when they are complete. `None` means no "
        "limit.",
    )
    database_uri: str = setting(
        checks.text,
        "sqlite:///resumable.sqlite",
        "The SQLAlchemy URL of the embedded database. A relative path of SQLite is relative to the instance folder.",
        resolve=paths.database_uri,
    )
    create_tables: bool | None = setting(
        checks.optional_flag, None, "Create the table of uploads. `None` creates it only for the ready-made models."
    )
    command_requests: bool = setting(
        checks.flag,
        False,
        "Let `flask tus` commands call hooks within a test request, so that `url_for` works, and Flask-Login's "
        "`current_user` is anonymous.",
    )
    check_writable: bool = setting(
        checks.flag,
        True,
        "Check at startup that the upload folder, `TEMP_DIR` and an SQLite file can be written. If not, the app does "
        "not start; `flask` commands other than `flask run` log a warning.",
    )
    foreign_keys: tuple[str, ...] = setting(
        checks.key_patterns,
        (),
        "A list of keys that only other code reads, although they begin like settings of this extension. `*` stands "
        "for any characters.",
    )

    def mistakes(self, read_before: Sequence[Any]) -> list[str]:
        """List contradictions between these settings."""
        mistakes = StorageSettings.mistakes(self, read_before)
        if self.downloads == "x-accel-redirect" and not self.accel_locations:
            mistakes.append("ACCEL_LOCATIONS: must be set for DOWNLOADS = 'x-accel-redirect'")
        return mistakes
