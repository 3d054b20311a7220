"""Runs the demo: gunicorn with two workers, behind a network that the page can make bad. ``make demo`` calls this."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from demo.relay import Notes
from demo.relay import Relay

ROOT = Path(__file__).resolve().parents[1]
GUNICORN = "-m gunicorn --config python:demo.gunicorn_config --bind fd://{fd} demo.app:create_app()"


async def serve(listener: socket.socket, inner: socket.socket, folder: Path) -> int:
    """Serve until gunicorn ends; its exit code."""
    gunicorn = await asyncio.create_subprocess_exec(
        sys.executable,
        *GUNICORN.format(fd=inner.fileno()).split(),
        cwd=ROOT,
        env={**os.environ, "DEMO_CONTROLS": str(folder)},
        pass_fds=[inner.fileno()],
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, gunicorn.send_signal, number)
    relay = asyncio.create_task(Relay(inner.getsockname(), Notes(folder)).run(listener))
    code = await gunicorn.wait()  # what it sends while it stops still gets through
    relay.cancel()
    return code


def main() -> int | str:
    port = int(os.environ.get("PORT", "5000"))
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        return f"Port {port} of 127.0.0.1: {error.strerror}. Choose another one: PORT=5001"
    with listener, socket.create_server(("127.0.0.1", 0)) as inner:
        with TemporaryDirectory(prefix="resumable-demo-") as folder:
            return asyncio.run(serve(listener, inner, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
