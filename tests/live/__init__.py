"""The extension on real WSGI servers: raw sockets, killed processes, failing disks. Run with ``pytest -m live``."""
