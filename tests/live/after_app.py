"""An app that notes the progress of its uploads, stops them when a file tells it to, and answers with JSON."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected


class Uploads(FlaskResumable):
    """Notes one line for each call of ``on_progress``: the id, the offset, the length and the time."""

    def __init__(self, home: Path, app: Flask) -> None:
        self._home = home
        super().__init__(app)

    def on_progress(self, upload: Any) -> None:
        with (self._home / "progress").open("a") as notes:
            notes.write(json.dumps([upload.id, upload.offset, upload.length, time.monotonic()]) + "\n")
        if (self._home / "stop").exists():
            raise UploadRejected(403, "Enough.")

    def on_complete(self, upload: Any) -> Any:
        return {"url": f"/photos/{upload.id}", "name": upload.filename}, 201, {"X-Photo": upload.id}


def create_app() -> Flask:
    """For any WSGI server."""
    home = Path(os.environ["LIVE_HOME"])
    app = Flask("after", instance_path=str(home / "instance"))
    app.config |= json.loads(os.environ["LIVE_SETTINGS"])
    app.config["RESUMABLE_UPLOAD_DIR"] = str(home / "uploads")
    Uploads(home, app)
    return app
