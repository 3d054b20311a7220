"""The settings that say where bytes are kept."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from . import checks
from . import paths
from .base import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """The upload folder or the bucket."""

    upload_dir: str = setting(
        checks.text,
        "uploads",
        "The folder for uploads. A relative path is relative to the instance folder. `strftime` patterns are replaced "
        "with the creation time in UTC. Use a folder with one database only.",
        resolve=paths.in_folder,
    )
    min_free_space: int | None = setting(
        checks.optional_size(0),
        0,
        "How many bytes of the upload folder's disk to leave free. Content that does not fit gets a 507 before it "
        "is received. `None` does not ask the disk.",
    )
    durability: str = setting(
        checks.choice("none", "data", "full"),
        "data",
        'What may be lost in a power failure. `"none"`: the last few seconds. `"data"`: nothing that was acknowledged. '
        '`"full"`: the same, and file names and sizes are synced at every step. `kill -9` never destroys anything.',
    )
    storage: str = setting(
        checks.choice("local", "s3"),
        "local",
        'Where files are stored, unless you pass `storage=`: `"local"`, in `UPLOAD_DIR`, or `"s3"`, in a bucket '
        "(install the `s3` extra).",
    )
    s3_bucket: str | None = setting(checks.bucket, None, "The name of an existing bucket.")
    s3_prefix: str = setting(
        checks.prefix, "", 'The prefix of all keys, such as `"uploads/"`. Use a prefix with one database only.'
    )
    s3_endpoint_url: str | None = setting(checks.endpoint, None, "The S3 endpoint. `None` means AWS.", is_secret=True)
    s3_region: str | None = setting(checks.optional_text, None, "The region. `None` lets boto3 find it.")
    s3_access_key: str | None = setting(
        checks.optional_text, None, "The access key. `None` lets boto3 find both keys.", is_secret=True
    )
    s3_secret_key: str | None = setting(checks.optional_text, None, "The secret access key.", is_secret=True)
    s3_part_size: int = setting(
        checks.size(5 * 2**20, 5 * 2**30),
        8 * 2**20,
        "The size of the first parts of a multipart upload, in bytes. Later parts are larger.",
    )
    s3_memory: int = setting(
        checks.size(1),
        64 * 2**20,
        "How many bytes of parts a process keeps in memory. The rest goes to temporary files.",
    )
    s3_spool_directory: str | None = setting(
        checks.optional_text,
        None,
        "The folder for temporary files of parts. `None` means the system's own folder.",
        resolve=paths.in_folder,
    )
    s3_equal_parts: bool | None = setting(
        checks.optional_flag,
        None,
        "Send only parts of equal size, as R2 requires. `None` finds out whether the store requires it.",
    )
    s3_object_parameters: Mapping[str, Any] | None = setting(
        checks.optional_mapping,
        None,
        'A dict of boto3\'s parameters for finished objects, such as `{"StorageClass": "STANDARD_IA"}`; see '
        "[docs/s3.md](s3.md#what-the-store-is-told-about-an-object).",
    )
    s3_check: bool = setting(
        checks.flag,
        True,
        "Check the bucket at startup. If the store does not respond, the app logs a warning and starts.",
    )

    def mistakes(self, read_before: Sequence[Any]) -> list[str]:
        """List contradictions between these settings."""
        mistakes = []
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            mistakes.append("S3_ACCESS_KEY, S3_SECRET_KEY: set both or neither")
        if self.storage == "s3" and self.s3_bucket is None:
            mistakes.append("S3_BUCKET: must be set for STORAGE = 's3'")
        return mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSettings:
    """How chunks, which may arrive in any order, are kept and merged, and how long the file is known afterwards."""

    completed_ttl: timedelta = setting(
        checks.seconds,
        timedelta(minutes=5),
        "How long the server recognizes a complete file, so that a client that missed the last response does not send "
        "the file again. During this time, a file with the same name and size counts as the same.",
    )
    cancelled_ttl: timedelta = setting(
        checks.seconds, timedelta(minutes=2), "How long late chunks of a cancelled file are refused."
    )
    temp_dir: str | None = setting(
        checks.optional_text,
        None,
        "A folder that keeps chunks until they are merged. By default, they are written straight to their file.",
        resolve=paths.in_folder,
    )
    pre_process_callback: Any = setting(
        checks.callback,
        None,
        "`callback(source, target)` is called when a chunk is merged: it reads the chunk from `source` and writes it, "
        "changed or not, to `target`.",
    )
    delete_chunks_on_save: bool = setting(checks.flag, True, "Delete chunks once they are merged.")

    @property
    def keeps_chunks_apart(self) -> bool:
        """Whether chunks are kept in a folder and merged later, rather than written straight into the file."""
        return self.temp_dir is not None or self.pre_process_callback is not None or not self.delete_chunks_on_save

    def mistakes(self, read_before: Sequence[Any]) -> list[str]:
        """List contradictions with the app's own settings."""
        if not any(isinstance(section, StorageSettings) and section.storage == "s3" for section in read_before):
            return []
        found = {
            "TEMP_DIR": self.temp_dir is not None,
            "PRE_PROCESS_CALLBACK": self.pre_process_callback is not None,
            "DELETE_CHUNKS_ON_SAVE": not self.delete_chunks_on_save,
        }
        rule = "works with STORAGE = 'local' only; a bucket has no folder for chunks"
        return [f"FLOW_{name}: {rule}" for name, is_set in found.items() if is_set]
