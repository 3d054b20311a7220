"""Becomes uWSGI, which is a program of its own, at a port."""

from __future__ import annotations

import os
import sys
from pathlib import Path

UWSGI = Path(sys.executable).with_name("uwsgi")
OPTIONS = "--enable-threads --threads 8 --need-app --die-on-term --disable-logging"

if __name__ == "__main__":
    port, app, *options = sys.argv[1:]
    where = ["--http-socket", f"127.0.0.1:{port}", "--module", f"{app}()"]
    os.execv(UWSGI, [str(UWSGI), *where, *OPTIONS.split(), *options])
