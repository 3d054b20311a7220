"""A page to try uploads with: drop files, cut the connection, kill the server, and watch them arrive all the same.

Everything stays in this folder: state in ``instance/``, files in ``uploads/``. Settings can be changed from the
environment by Flask's own means, as JSON: ``FLASK_RESUMABLE_MAX_SIZE=1000000 python demo/app.py``.

``python -m demo``, which ``make demo`` calls, adds a network that can be made bad, and workers that can be killed from
the page.

``STATE`` says where state is kept: ``sql``, in SQLite or whatever ``FLASK_RESUMABLE_DATABASE_URI`` names, or ``mongo``,
in the MongoDB at ``FLASK_MONGODB_HOST``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import abort
from flask import Blueprint
from flask import current_app
from flask import Flask
from flask import jsonify
from flask import render_template
from flask import request
from flask import Response
from flask import send_from_directory
from flask import url_for

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable import Upload
from flask_resumable import UploadRejected

HERE = Path(__file__).resolve().parent
NEWEST = 100  # finished uploads on the page

# What the browser needs from npm, file by file: nothing else in node_modules can be asked for.
VENDOR = {
    "flow.min.js": "@flowjs/flow.js/dist/flow.min.js",
    "tus.min.js": "tus-js-client/dist/tus.min.js",
    "sha256.umd.min.js": "hash-wasm/dist/sha256.umd.min.js",
    "uppy.min.css": "uppy/dist/uppy.min.css",
    "uppy.min.mjs": "uppy/dist/uppy.min.mjs",
}

page = Blueprint("page", __name__)


class DemoUploads(FlaskResumable):
    """What an app would do with uploads, in small."""

    def on_create(self, upload: Upload) -> None:
        if (upload.filename or "").lower().endswith(".exe"):
            raise UploadRejected(403, "Programs (.exe) are not welcome here; any other file is.")

    def pre_save(self, upload: Upload) -> None:
        if controls := current_app.config["DEMO_CONTROLS"]:
            controls.note_receiver(upload)

    def on_complete(self, upload: Upload) -> None:
        # repr, because the name is the client's: it may hold line breaks.
        current_app.logger.info("%r is complete: %d bytes (worker %d)", upload.filename, upload.length, os.getpid())


resumable = DemoUploads()


def create_app(settings: Mapping[str, Any] | None = None) -> Flask:
    """The app, for ``gunicorn 'demo.app:create_app()'`` and ``flask --app demo.app run``."""
    app = Flask(__name__, instance_path=str(HERE / "instance"))
    app.config.update(
        RESUMABLE_UPLOAD_DIR=str(HERE / "uploads"),
        RESUMABLE_MAX_SIZE=20 * 1024**3,
        RESUMABLE_DOWNLOADS=True,
    )
    app.config.from_prefixed_env()
    app.config.update(settings or {})
    app.logger.setLevel("INFO")
    resumable.init_app(app, model=_model(os.environ.get("STATE", "sql")))
    app.register_blueprint(page)
    _add_controls(app, os.environ.get("DEMO_CONTROLS"))
    return app


def _model(state: str) -> type[Any] | None:
    """What keeps the state; ``None`` is the embedded database."""
    if state == "mongo":
        from flask_resumable.models import MongoengineModel  # needs a package that not everybody has

        return MongoengineModel
    if state != "sql":
        raise ConfigurationError(f"STATE = {state!r}: must be 'sql' or 'mongo'")
    return None


def _add_controls(app: Flask, folder: str | None) -> None:
    """Let the page kill workers and make the network bad, if ``python -m demo`` has made a folder for that."""
    app.config["DEMO_CONTROLS"] = None
    if folder:
        from demo.controls import Controls  # which Python does not find if this file is run as a script
        from demo.controls import create_blueprint

        app.config["DEMO_CONTROLS"] = controls = Controls(Path(folder))
        app.register_blueprint(create_blueprint(controls, resumable))
        app.logger.info("Worker %d is ready.", os.getpid())


# --- the page and its files ---


@page.get("/")
def index() -> str:
    missing = [name for name, file in VENDOR.items() if not (HERE / "node_modules" / file).is_file()]
    return render_template(
        "index.html",
        tus_url=resumable.url_for(protocol="tus"),
        flow_url=resumable.url_for(protocol="flow"),
        ietf_url=resumable.url_for(protocol="ietf"),
        full_ietf_url=resumable.url_for(protocol="ietf", _external=True),  # for the command line
        max_size=current_app.config["RESUMABLE_MAX_SIZE"],
        missing=missing,
    )


@page.get("/vendor/<path:name>")
def vendor(name: str) -> Response:
    """A file of a package that ``npm install`` put into ``demo/node_modules``."""
    if name not in VENDOR:
        abort(404)
    return send_from_directory(HERE / "node_modules", VENDOR[name])


@page.after_app_request
def harden(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", _content_security_policy())
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    return response


def _content_security_policy() -> str:
    """Nothing but our own files. WebAssembly is for the worker that hashes, which has a policy of its own."""
    is_hash_worker = request.endpoint == "static" and request.view_args == {"filename": "hash-worker.js"}
    scripts = "'self' 'wasm-unsafe-eval'" if is_hash_worker else "'self'"
    return (
        f"default-src 'none'; script-src {scripts}; worker-src 'self'; style-src 'self'; "
        "img-src 'self' blob: data:; "  # Uppy's thumbnails and icons
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


# --- what the page asks ---


@page.get("/api/uploads")
def uploads() -> Response:
    """What the server has: uploads under way, and the newest finished ones."""
    everything = [*resumable.uploads(parts=True)]
    done = sorted((_finished(upload) for upload in everything if _is_file(upload)), key=lambda row: row["finished"])
    under_way = sorted((upload for upload in everything if not _is_file(upload)), key=lambda upload: upload.created_at)
    controls = current_app.config["DEMO_CONTROLS"]
    return jsonify(
        worker=os.getpid(),
        network=controls and controls.network,
        passed=controls and controls.passed,
        unfinished=[_unfinished(upload) for upload in under_way],
        finished=done[: -NEWEST - 1 : -1],
    )


@page.get("/api/uploads/<upload_id>/sha256")
def sha256(upload_id: str) -> Response:
    """Reads the whole file, the first time; so the page asks for one file, when somebody wants to know."""
    upload = resumable.get(upload_id)
    if upload is None or not _is_file(upload):
        abort(404)
    return jsonify(sha256=upload.digest("sha256"))


def _is_file(upload: Upload) -> bool:
    """Whether it is a finished file, rather than on its way or a part of one."""
    return upload.complete and not upload.is_partial


def _finished(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "name": _name(upload) or upload.id,
        "length": upload.length,
        "finished": (upload.updated_at or upload.created_at).isoformat(),
        "url": resumable.url_for(upload, protocol="tus"),  # finished files are there, whatever they came by
        "digest_url": url_for("page.sha256", upload_id=upload.id),
    }


def _name(upload: Upload) -> str | None:
    """The file's name, within its folder if it came in one."""
    return upload.metadata.get("relativePath") or upload.metadata.filename


def _unfinished(upload: Upload) -> dict[str, Any]:
    controls = current_app.config["DEMO_CONTROLS"]
    return {
        "receiver": controls and controls.receiver(upload),
        "killed": controls and controls.killed(upload),
        "id": upload.id,
        "url": resumable.url_for(upload, protocol="tus"),
        "name": _name(upload),
        "kind": "part" if upload.is_partial else "final" if upload.is_final else "whole",
        "protocol": upload.metadata.get("protocol"),  # as the page itself says it
        "offset": upload.offset,
        "received": upload.received,
        "length": upload.length,
        "status": upload.status,
        "busy": upload.is_busy,
        "expires": upload.expires_at and upload.expires_at.isoformat(),
    }


if __name__ == "__main__":
    create_app().run(host="127.0.0.1", port=int(os.environ.get("PORT", "5000")), threaded=True)
