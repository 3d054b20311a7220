"""Where the bytes go. Each storage is imported when it is first asked for, with what it needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .local.chunk_folder import ChunkFolder as ChunkFolder
    from .local.storage import LocalStorage as LocalStorage
    from .s3 import S3Storage as S3Storage

__all__ = ["ChunkFolder", "LocalStorage", "S3Storage"]

_MODULES = {"ChunkFolder": "local.chunk_folder", "LocalStorage": "local", "S3Storage": "s3"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
