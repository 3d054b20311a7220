"""Makes paths in settings absolute. Relative ones are relative to the instance folder, as in Flask-SQLAlchemy.

The working directory does not matter, so that a command that runs from cron finds what the server uses.
"""

from __future__ import annotations

import os
import re

_SQLITE = re.compile(r"(?P<scheme>sqlite(?:\+\w+)?:///)(?P<file>file:)?(?P<path>[^?]*)(?P<query>\?.*)?", re.DOTALL)


def in_folder(path: str, root: str) -> str:
    """Return the absolute path of a folder or file."""
    return os.path.abspath(os.path.join(root, path))


def locations(folders: dict[str, str], root: str) -> dict[str, str]:
    """Return the absolute path of each folder."""
    return {location: in_folder(folder, root) for location, folder in folders.items()}


def database_uri(uri: str, root: str) -> str:
    """Return the URL of a database with an absolute path, if it is an SQLite file. Other URLs are unchanged."""
    match = _SQLITE.fullmatch(uri)
    if match is None or match["path"] in ("", ":memory:") or "mode=memory" in (match["query"] or ""):
        return uri
    path = in_folder(match["path"], root)
    return f"{match['scheme']}{match['file'] or ''}{path}{match['query'] or ''}"
