"""What the page can do to its own server if that runs with ``make demo``: kill a worker, and make the network bad.

An app that is started otherwise has none of this. Only the page itself can ask for it, and only on this machine.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from flask import abort
from flask import Blueprint
from flask import jsonify
from flask import request
from flask import Response

from demo.relay import Network
from demo.relay import Notes
from flask_resumable import FlaskResumable
from flask_resumable import Upload

_RECENT = 3.0  # seconds
_LOCAL = {"127.0.0.1", "localhost", "::1"}


class Controls(Notes):
    """Which worker receives what, for all workers of one demo.

    Each worker holds a lock for as long as it lives: a number alone might soon belong to some other process.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._lock = self._lock_of(os.getpid()).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def note_receiver(self, upload: Upload) -> None:
        """Remember that this worker receives an upload now, and what was there before."""
        note = self.read(_name(upload))
        if killed := note.get("killed"):
            killed.setdefault("continued_at", upload.received)
        receivers = {**note.get("receivers", {}), str(os.getpid()): time.time()}
        self.write(_name(upload), {**note, "receivers": receivers})

    def receiver(self, upload: Upload) -> int | None:
        """The process that receives an upload, or did so a moment ago: there are gaps between chunks."""
        times: dict[str, float] = self.read(_name(upload)).get("receivers", {})
        newest = max(times, key=times.__getitem__, default=None)
        if newest is not None and upload.is_busy and self._lives(int(newest)):
            return int(newest)
        # Chunks go to all workers: name the same one as long as it takes part, or its button could not be hit.
        recent = (int(pid) for pid, at in times.items() if time.time() - at < _RECENT)
        return min(filter(self._lives, recent), default=None)

    def killed(self, upload: Upload) -> dict[str, int] | None:
        """The ``worker`` that was killed while it received an upload, and the bytes that were there when another one
        continued, ``continued_at``.
        """
        found: dict[str, int] | None = self.read(_name(upload)).get("killed")
        return found

    def kill(self, pid: int, uploads: Iterable[Upload]) -> bool:
        """``kill -9`` for one of the workers, which may be this one. Returns whether this process ever was one."""
        if not self._lock_of(pid).exists():
            return False
        if self._lives(pid):
            for upload in uploads:
                if self.receiver(upload) and str(pid) in self.read(_name(upload))["receivers"]:
                    self.write(_name(upload), {"killed": {"worker": pid}})
            os.kill(pid, signal.SIGKILL)
        return True

    def _lives(self, pid: int) -> bool:
        if pid == os.getpid():
            return True
        with self._lock_of(pid).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _lock_of(self, pid: int) -> Path:
        return self.folder / f"worker-{pid}"


def _name(upload: Upload) -> str:
    return f"upload-{upload.id}"


def create_blueprint(controls: Controls, resumable: FlaskResumable) -> Blueprint:
    """What the page calls."""
    blueprint = Blueprint("controls", __name__, url_prefix="/api")

    @blueprint.before_request
    def check_origin() -> None:
        """Refuse other sites' pages, also those of a site that has made its name point to this machine."""
        host = urlsplit(request.host_url)
        if host.hostname not in _LOCAL or request.origin != f"{host.scheme}://{host.netloc}":
            abort(403)

    # With the number of the worker a request may be repeated, as browsers do when the connection breaks: and it
    # does, if it is this worker.
    @blueprint.post("/workers/<int:pid>/kill")
    def kill(pid: int) -> Response:
        if not controls.kill(pid, resumable.uploads(parts=True)):
            abort(404)
        return Response(status=204)

    @blueprint.put("/network")
    def set_network() -> Response:
        wanted = request.get_json()
        if not isinstance(wanted, dict) or not all(isinstance(value, bool) for value in wanted.values()):
            abort(400)
        try:
            controls.network = Network(**wanted)
        except TypeError:  # another name
            abort(400)
        return jsonify(wanted)

    return blueprint
