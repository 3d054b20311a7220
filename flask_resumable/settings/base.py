"""The app's configuration, read once and checked; the only place with defaults."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from datetime import timedelta
from typing import Any

from flask import Flask

from ..errors import ConfigurationError
from ..protocols.tus.messages import EXTENSIONS
from . import checks

COMMON = "RESUMABLE_"  # for keys that are not set for a protocol: TUS_X or FLOW_X wins over RESUMABLE_X


def _setting(check: Callable[[Any], Any], default: Any, meaning: str, *, is_secret: bool = False) -> Any:
    metadata = {"check": check, "meaning": meaning, "is_secret": is_secret}
    return field(default=default, repr=not is_secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolSettings:
    """What each protocol has for itself, by its name in lower case without prefix."""

    enabled: bool = _setting(checks.flag, True, "Whether this protocol is served.")
    max_size: int | None = _setting(checks.max_size, None, "The largest upload, in bytes; `None`: no limit.")
    expiration: timedelta | None = _setting(
        checks.expiration, timedelta(days=1), "The time allowed to complete an upload, a `timedelta`; `None`: for ever."
    )
    idle_timeout: timedelta = _setting(
        checks.seconds,
        timedelta(seconds=60),
        "How long a client may fall silent within a request, in seconds or a `timedelta`.",
    )
    cors_origins: tuple[str, ...] = _setting(
        checks.origins, (), 'Origins whose pages may upload, a list, or `"*"`; empty: only the app\'s own.'
    )
    cors_credentials: bool = _setting(checks.flag, False, "Whether those pages may send cookies.")
    cors_max_age: int = _setting(
        checks.whole(0, 2**31 - 1), 86400, "How long browsers may keep a preflight, in seconds."
    )
    max_metadata: int = _setting(checks.whole(0, 65535), 16 * 1024, "The longest Upload-Metadata, in characters.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ProtocolSettings):
    """tus, and all that is the app's: where state and bytes are kept, and how."""

    upload_url: str = _setting(checks.url, "/files/", "Where tus listens.")
    upload_dir: str = _setting(
        checks.text,
        "",
        "The folder for uploads; default: `uploads` in the instance folder. `strftime` patterns stand for the time of "
        "creation in UTC. One folder belongs to one database.",
    )
    sliding_expiration: bool = _setting(
        checks.flag, False, "Whether that time begins anew with all content that comes in."
    )
    parts_expiration: timedelta = _setting(
        checks.seconds,
        timedelta(days=7),
        "How long a part of a concatenation waits for the others after its last content, where `EXPIRATION` is `None` "
        "or slides and is shorter. Once a file has been made of it, it goes after a day at the latest.",
    )
    chunk_size: int = _setting(
        checks.whole(1), 64 * 1024, "The block, in bytes, in which `md5` and `digest()` read a file."
    )
    lease: timedelta = _setting(
        checks.seconds,
        timedelta(seconds=6),
        "How long an upload that is being finished or removed stays locked after its server died, in seconds. On the "
        "same machine a dead process is noticed at once.",
    )
    durability: str = _setting(
        checks.choice("none", "data", "full"),
        "data",
        'What a loss of power may cost. `"none"`: the last seconds; `"data"`: nothing that was answered; `"full"`: '
        "file names and sizes are synced at every step, too. Whatever is set, `kill -9` costs nothing.",
    )
    downloads: str | bool = _setting(
        checks.downloads,
        False,
        'Whether GET returns finished uploads. `True` or `"stream"`: through the app; `"redirect"`: by a link to the '
        "storage, if it is one that clients can fetch from.",
    )
    link_lifetime: timedelta = _setting(
        checks.link_lifetime, timedelta(minutes=5), "How long such a link is good for, in seconds or a `timedelta`."
    )
    inline_types: tuple[str, ...] = _setting(
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
        "Media types that a browser may show; all others are downloads of unknown type.",
    )
    absolute_location: bool = _setting(
        checks.flag, False, "Whether Location is a full URL; relative ones need no ProxyFix."
    )
    require_checksum: bool = _setting(checks.flag, False, "Whether all content must carry Upload-Checksum.")
    strict: bool = _setting(checks.flag, False, "Whether HEAD, too, must carry Tus-Resumable.")
    disabled_extensions: tuple[str, ...] = _setting(checks.names(*EXTENSIONS), (), "tus extensions not to be offered.")
    storage: str = _setting(
        checks.choice("local", "s3"),
        "local",
        'Where bytes are kept, unless `storage=` says it: in `UPLOAD_DIR`, or in a bucket (`"s3"`, the extra `s3`).',
    )
    s3_bucket: str | None = _setting(checks.bucket, None, "The bucket. It must be there.")
    s3_prefix: str = _setting(
        checks.prefix, "", 'What all keys begin with, such as `"uploads/"`. One prefix belongs to one database.'
    )
    s3_endpoint_url: str | None = _setting(
        checks.endpoint, None, "Where the store is; `None`: at Amazon.", is_secret=True
    )
    s3_region: str | None = _setting(checks.optional_text, None, "The region; `None`: as boto3 finds it.")
    s3_access_key: str | None = _setting(
        checks.optional_text, None, "The access key; `None`: as boto3 finds both keys.", is_secret=True
    )
    s3_secret_key: str | None = _setting(
        checks.optional_text, None, "The secret key that belongs to it.", is_secret=True
    )
    s3_part_size: int = _setting(
        checks.whole(5 * 2**20, 5 * 2**30),
        8 * 2**20,
        "The part, in bytes, in which an upload is sent on; it grows with the upload.",
    )
    s3_memory: int = _setting(
        checks.whole(1), 64 * 2**20, "How many bytes of parts a process may have in memory; more of them go to files."
    )
    s3_spool_directory: str | None = _setting(
        checks.folder,
        None,
        "Where those files are made, for as long as they are needed; `None`: where temporary files go.",
    )
    s3_equal_parts: bool | None = _setting(
        checks.optional_flag,
        None,
        "Whether the store wants all parts of an object to have one size, as R2 does; `None`: it is found out.",
    )
    s3_check: bool = _setting(
        checks.flag, True, "Whether the bucket is tried at start. A store that does not answer then is only warned of."
    )
    database_uri: str = _setting(
        checks.text, "", "SQLAlchemy URL of the embedded database; default: `resumable.sqlite` in the instance folder."
    )
    create_tables: bool | None = _setting(
        checks.optional_flag, None, "Whether to make the table of uploads; `None`: only for the ready-made models."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings(ProtocolSettings):
    """flow.js."""

    upload_url: str = _setting(checks.url, "/flow/", "Where flow.js listens.")
    sliding_expiration: bool = _setting(checks.flag, True, "Whether that time begins anew with every chunk.")
    file_field: str = _setting(checks.text, "file", "The form's field with the chunk (`fileParameterName`).")
    test_methods: tuple[str, ...] = _setting(
        checks.methods, ("GET", "HEAD"), "Methods that may ask whether a chunk is here (`testMethod`)."
    )
    permanent_errors: bool = _setting(
        checks.flag, False, "Whether bad requests get 415 instead of 400 or 413, so that clients with retries give up."
    )
    max_chunks: int = _setting(checks.whole(1), 100_000, "The most chunks of one file.")
    max_chunk_size: int = _setting(checks.whole(1), 2**30, "The largest chunk, in bytes.")
    remember: timedelta = _setting(
        checks.seconds,
        timedelta(minutes=5),
        "How long a finished file is known by its identifier, so that a client that lost the last answer need not send "
        "it all again. A file of the same name and size within that time is taken for the same.",
    )
    tombstone: timedelta = _setting(
        checks.seconds, timedelta(minutes=2), "How long a cancelled file refuses chunks that come late."
    )
    identity_parameters: tuple[str, ...] = _setting(
        checks.identity_parameters,
        (),
        'Parameters of your own (`query`) that tell uploads of one file apart, a list, such as `["album"]`.',
    )
    hash_name_callback: Any = _setting(
        checks.callback,
        None,
        "Names the upload of a file, instead of its identifier and names: `callback(file) -> str`.",
    )
    temp_dir: str | None = _setting(checks.folder, None, "A folder for chunks until they are merged; see below.")
    pre_process_callback: Any = _setting(
        checks.callback, None, "Changes each chunk as it is merged: `callback(source, target)`, two binary streams."
    )
    delete_chunks_on_save: bool = _setting(checks.flag, True, "Whether chunks go when their file is merged.")

    @property
    def keeps_chunks_apart(self) -> bool:
        """Whether chunks are kept in a folder and merged, rather than placed in the file at once."""
        return self.temp_dir is not None or self.pre_process_callback is not None or not self.delete_chunks_on_save


def read_settings(app: Flask) -> tuple[Settings, FlowSettings]:
    """Read and check ``app.config``.

    :raises ConfigurationError: Names every wrong key.
    """
    defaults = {
        "upload_dir": os.path.join(app.instance_path, "uploads"),
        "database_uri": "sqlite:///" + os.path.join(app.instance_path, "resumable.sqlite"),
    }
    mistakes = _misspelt(app.config)
    values = [_read(kind, app.config, prefix, defaults, mistakes) for kind, prefix in _KINDS]
    mistakes += _mistakes_with_s3(*values)
    if mistakes:
        raise ConfigurationError("Wrong settings of flask_resumable:\n  " + "\n  ".join(dict.fromkeys(mistakes)))
    return Settings(**values[0]), FlowSettings(**values[1])


_KINDS: tuple[tuple[type[ProtocolSettings], str], ...] = ((Settings, "TUS_"), (FlowSettings, "FLOW_"))


def _read(
    kind: type[ProtocolSettings],
    config: Mapping[str, Any],
    prefix: str,
    defaults: Mapping[str, Any],
    mistakes: list[str],
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in fields(kind):
        prefixes = (prefix,) if item.name in _NEVER_COMMON else (prefix, COMMON)
        key = next((start + item.name.upper() for start in prefixes if start + item.name.upper() in config), None)
        if key is None:
            values[item.name] = defaults.get(item.name, item.default)
            continue
        try:
            values[item.name] = item.metadata["check"](config[key])
        except (TypeError, ValueError) as error:
            shown = "..." if item.metadata["is_secret"] else repr(config[key])
            mistakes.append(f"{key} = {shown}: must be {error}")
    if values.get("cors_credentials") and "*" in values.get("cors_origins", ()):
        mistakes.append("CORS_CREDENTIALS: browsers refuse cookies for CORS_ORIGINS = '*'; list the origins")
    return values


def _mistakes_with_s3(values: Mapping[str, Any], flow: Mapping[str, Any]) -> list[str]:
    """What does not fit together with a bucket. A value that is missing here is wrong by itself."""
    mistakes = []
    if (values.get("s3_access_key", "") is None) != (values.get("s3_secret_key", "") is None):
        mistakes.append("S3_ACCESS_KEY, S3_SECRET_KEY: set both, or neither")
    if values.get("storage") == "s3":
        if values.get("s3_bucket", "") is None:
            mistakes.append("S3_BUCKET: must be set for STORAGE = 's3'")
        for name in ("temp_dir", "pre_process_callback", "delete_chunks_on_save"):
            if flow.get(name) not in (None, True):
                mistakes.append(f"FLOW_{name.upper()}: only for STORAGE = 'local'; a bucket has no folder for chunks")
    return mistakes


_NEVER_COMMON = ("enabled", "upload_url")  # one value for both protocols would make no sense


def _misspelt(config: Mapping[str, Any]) -> list[str]:
    """Keys of ours that nobody reads: most likely a slip."""
    names = {prefix: {item.name.upper() for item in fields(kind)} for kind, prefix in _KINDS}
    known = set().union(*names.values()) - {name.upper() for name in _NEVER_COMMON}
    mistakes = [
        f"{key}: there is no such setting"
        for key in config
        if key.startswith(COMMON) and key.removeprefix(COMMON) not in known
    ]
    for (_, prefix), other in zip(_KINDS, reversed(_KINDS), strict=True):
        alien = names[other[1]] - names[prefix]
        mistakes += [
            f"{prefix}{name}: set {other[1]}{name} or {COMMON}{name}"
            for name in sorted(alien)
            if prefix + name in config
        ]
    return mistakes
