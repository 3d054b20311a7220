"""A store that runs already, such as MinIO on this machine. What the tests put there stays there."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from .moto import answers


class Running:
    """The store of ``S3_SERVER=http://127.0.0.1:9000``, with the keys of ``S3_ACCESS_KEY`` and ``S3_SECRET_KEY``."""

    min_part = 5 * 1024 * 1024

    def __init__(self, home: Path) -> None:
        self.url = os.environ["S3_SERVER"].rstrip("/")
        self.access_key = os.environ["S3_ACCESS_KEY"]
        self.secret_key = os.environ["S3_SECRET_KEY"]
        self.port = urlsplit(self.url).port or 80

    def start(self) -> None:
        """See that it answers."""
        assert answers(self.port), f"Nobody answers at {self.url}."

    def kill(self) -> None:
        """Leave it alone."""
