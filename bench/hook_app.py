"""The app beside tusd or @tus/server, which call it over HTTP when an upload is complete."""

from __future__ import annotations

import os

from flask import Flask
from flask import request

from bench.models import db
from bench.models import Document
from bench.models import init_app

app = Flask("bench_hooks")
init_app(app, os.environ["BENCH_DATABASE"])


@app.post("/hook")
def told() -> dict[str, object]:
    """What tusd sends to a hook; node.mjs sends the parts of it that are read here."""
    upload = request.get_json()["Event"]["Upload"]
    db.session.add(Document(upload=upload["ID"], name=upload["MetaData"].get("filename"), size=upload["Size"]))
    db.session.commit()
    return {}
