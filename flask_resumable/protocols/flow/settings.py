"""The settings of flow.js."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...settings import checks
from ...settings.base import ProtocolSettings
from ...settings.base import setting
from .messages import DIALECTS
from .messages import PARAMETERS


def _identity_parameters(value: Any) -> tuple[str, ...]:
    """Accept names of the app's own parameters. The protocol's are part of the identity anyway."""
    found = checks.names()(value)
    own = {dialect.spell(parameter) for dialect in DIALECTS for parameter in PARAMETERS if parameter != "type"}
    if "" in found or len({*found}) < len(found) or own & {*found}:
        raise ValueError("a list of different names, without the protocol's own, such as flowChunkNumber")
    return found


def _metadata_parameters(value: Any) -> tuple[str, ...] | None:
    """Accept a list of names, or ``None``."""
    return None if checks.is_none(value) else checks.names()(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings(ProtocolSettings):
    """The settings of flow.js."""

    upload_url: str = setting(checks.url, "/flow/", "The URL path of flow.js.", is_common=False)
    file_field: str = setting(checks.text, "file", "The form field that contains the chunk (`fileParameterName`).")
    test_methods: tuple[str, ...] = setting(
        checks.names("GET", "HEAD", "POST", "PUT", "PATCH"),
        ("GET", "HEAD"),
        "HTTP methods with which clients may test for a chunk (`testMethod`).",
    )
    permanent_errors: bool = setting(
        checks.flag,
        False,
        "Respond to bad requests with 415 instead of 400 or 413, and instead of the 403 for a token, so that clients "
        "stop retrying.",
    )
    max_chunks: int = setting(checks.whole(1), 100_000, "The maximum number of chunks in a file.")
    max_chunk_size: int = setting(checks.size(1), 2**30, "The maximum size of a chunk, in bytes.")
    identity_parameters: tuple[str, ...] = setting(
        _identity_parameters,
        (),
        'A list of your own `query` parameters that distinguish uploads of the same file, such as `["album"]`.',
    )
    metadata_parameters: tuple[str, ...] | None = setting(
        _metadata_parameters,
        None,
        "A list of your own `query` parameters to keep in `upload.metadata`. `None` keeps all except those that look "
        "like passwords or tokens.",
    )
    hash_name_callback: Any = setting(
        checks.callback,
        None,
        "`callback(file) -> str` returns a string that identifies the upload, in place of the client's identifier and "
        "file names.",
    )
