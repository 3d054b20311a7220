"""The app that is measured: uploads as they come out of the box, and one hook that costs nothing of its own."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from flask_resumable import FlaskResumable


class Uploads(FlaskResumable):
    """Counts what was completed."""

    completed = 0

    def on_complete(self, upload: Any) -> None:
        self.completed += 1


app = Flask("bench", instance_path=os.environ["BENCH_HOME"])
app.config["RESUMABLE_DURABILITY"] = os.environ.get("BENCH_DURABILITY", "data")
if os.environ.get("BENCH_FOLDER"):
    app.config["FLOW_TEMP_DIR"] = os.environ["BENCH_FOLDER"]
Uploads(app)
