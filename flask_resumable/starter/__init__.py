"""The app that ``flask tus init`` writes."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

# No tool takes the files of the app for files of this package.
_SUFFIX = "-tpl"
_HIDDEN = "dot."


def write_app(folder: Path) -> list[Path]:
    """Write the app into a folder, which is created if it does not exist.

    :returns: The files.
    :raises FileExistsError: One of the files exists. Nothing was written.
    :raises OSError: The folder cannot be written.
    """
    contents = {folder / name: text for name, text in [*_templates(), *_secrets()]}
    for path in contents:
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    for path, text in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            if path.name == ".env":
                path.chmod(0o600)
            file.write(text)
    return list(contents)


def _templates() -> Iterator[tuple[str, str]]:
    for path, name in _files(files(__package__) / "files", ""):
        yield name, path.read_text(encoding="utf-8").replace("@requirement@", _requirement())


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[Traversable, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            name = entry.name.removesuffix(_SUFFIX)
            yield entry, prefix + (f".{name.removeprefix(_HIDDEN)}" if name.startswith(_HIDDEN) else name)


def _requirement() -> str:
    """Return what pip installs to get this version, or a later one with the same public API."""
    requirement = "Flask-Resumable[flask-sqlalchemy]"
    with suppress(PackageNotFoundError):
        requirement += f"~={version('Flask-Resumable')}"
    return requirement


def _secrets() -> Iterator[tuple[str, str]]:
    """Generate keys. Nothing but digits would become a number in the app's configuration."""
    yield ".env", f"FLASK_SECRET_KEY=key-{secrets.token_hex(32)}\nPOSTGRES_PASSWORD={secrets.token_hex(16)}\n"
