"""Checks at startup that what uploads need can be written, so that the first upload is not the first to find out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress

from .core.printable import printable
from .errors import ConfigurationError
from .interfaces import StateRepository
from .interfaces import Storage
from .settings.app import Settings
from .settings.storage import ChunkSettings
from .settings.writable import Problem
from .settings.writable import problem_with_file
from .settings.writable import problem_with_folder

logger = logging.getLogger(__package__)

_REMEDY = "If this process is not meant to write, set RESUMABLE_CHECK_WRITABLE = False."


def check_writable(
    settings: Settings,
    chunks: ChunkSettings,
    storage: Storage | Mapping[str, Storage],
    repository: StateRepository,
    *,
    only_warn: bool,
) -> None:
    """Check folders and SQLite files.

    :param only_warn: Log what is wrong instead, because this process may never store an upload.
    :raises ConfigurationError: Something cannot be written; the message names the setting and the path.
    """
    found = [(name, problem) for name, problem in _problems(settings, chunks, storage, repository) if problem]
    for name, problem in found:
        if only_warn or problem.passes:
            logger.warning("%s: %s, so uploads will fail.", name, printable(problem.text))
    lasting = [f"{name}: {problem.text}" for name, problem in found if not problem.passes]
    if lasting and not only_warn:
        raise ConfigurationError("\n  ".join(["Uploads cannot be stored:", *lasting, _REMEDY]))


def _problems(
    settings: Settings, chunks: ChunkSettings, storage: Storage | Mapping[str, Storage], repository: StateRepository
) -> Iterator[tuple[str, Problem | None]]:
    for kind in storage.values() if isinstance(storage, Mapping) else [storage]:
        root = getattr(kind, "root", None)
        if root is None:
            continue
        name = "RESUMABLE_UPLOAD_DIR" if settings.upload_dir.startswith(str(root)) else "storage="
        root = str(root)
        yield name, problem_with_folder(root)
        work = os.path.join(root, ".partial")
        if os.path.exists(work):
            yield name, problem_with_folder(work)
    if chunks.temp_dir is not None:
        yield "FLOW_TEMP_DIR", problem_with_folder(chunks.temp_dir)
    if settings.storage == "s3" and settings.s3_spool_directory is not None:
        yield "RESUMABLE_S3_SPOOL_DIRECTORY", problem_with_folder(settings.s3_spool_directory)
    location, path = repository.capabilities.location, None
    if location is not None:
        with suppress(Exception):  # its engine may not be available until it is first used
            path = location.file()
        if path is not None:
            yield location.setting, problem_with_file(path)
