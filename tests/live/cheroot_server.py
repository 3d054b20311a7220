"""The app on cheroot, at a port."""

from __future__ import annotations

import sys

from .app import create_app

if __name__ == "__main__":
    from cheroot.wsgi import Server

    Server(("127.0.0.1", int(sys.argv[1])), create_app()).start()
