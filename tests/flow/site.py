"""Apps under test: the two databases, the two ways of keeping chunks, and what a test may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from flask_resumable.core.upload import Upload
from tests.conformance.server import Server
from tests.conformance.server import start_embedded
from tests.conformance.server import start_flask_sqlalchemy

from .client import Flow
from .client import Sample

DATABASES = {"embedded": start_embedded, "flask_sqlalchemy": start_flask_sqlalchemy}
SITES = {
    "embedded, in place": ("embedded", False),
    "flask_sqlalchemy, in place": ("flask_sqlalchemy", False),
    "flask_sqlalchemy, chunks folder": ("flask_sqlalchemy", True),
}


@dataclass
class Site:
    """One app, its client, and where it keeps things."""

    server: Server
    chunks: Path | None  # the chunks folder, if it has one
    flow: Flow = field(init=False)

    def __post_init__(self) -> None:
        self.flow = self.client()

    def client(self, dialect: str = "flow", **headers: str) -> Flow:
        """Another client."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return Flow(self.server.app.test_client(), dialect, headers=fields)

    def uploads(self) -> list[Upload]:
        """All records."""
        with self.server.app.app_context():
            return list(self.server.app.extensions["resumable"].repository.list(limit=1000))

    def stored(self, answer: Any) -> bytes:
        """The finished file that an answer is about."""
        return self.server.folder.joinpath(str(answer.json["id"])).read_bytes()

    def files(self) -> list[str]:
        """Every file in the upload folder and in the chunks folder, but for the fences."""
        folders = [self.server.folder, *([self.chunks] if self.chunks else [])]
        paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return sorted(path.name for path in paths if path.suffix != ".lock")

    def count(self, hook: str) -> int:
        """How often a hook was called."""
        return self.server.hooks.count(hook)

    def during(self, hook: str, act: Callable[[Any], object]) -> None:
        """From now on, the hook does this."""
        self.server.hooks.during[hook] = act


def start(kind: str, home: Path, **settings: Any) -> Site:
    """An app; settings by their names without prefix."""
    database, has_folder = SITES[kind]
    home.mkdir(parents=True)
    chunks = home / "chunks" if has_folder else None
    config = {"RESUMABLE_DURABILITY": "none", **({"FLOW_TEMP_DIR": str(chunks)} if chunks else {})}
    own = ("ENABLED", "UPLOAD_URL")  # one value for both protocols would make no sense
    config |= {f"FLOW_{name}" if name in own else f"RESUMABLE_{name}": value for name, value in settings.items()}
    return Site(DATABASES[database](home, config), chunks)


def sample(size: int = 25, chunk: int = 10, **more: Any) -> Sample:
    """A file of which no two bytes nearby are alike."""
    return Sample(bytes(index * 7 % 251 for index in range(size)), chunk, **more)
