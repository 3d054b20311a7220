"""A certificate that is made for the tests, and clients that trust it."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """Two files for a server, and a context for its clients."""

    certificate: Path
    key: Path

    @property
    def context(self) -> ssl.SSLContext:
        """What a client of HTTP/1.1 connects with."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.set_alpn_protocols(["http/1.1"])
        return context


def make_certificate(openssl: str, folder: Path) -> Certificate:
    """Made by the ``openssl`` program, for a day."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    command += f" -addext subjectAltName=DNS:localhost -keyout {made.key} -out {made.certificate}"
    subprocess.run([openssl, *command.split()], check=True, capture_output=True, timeout=60)
    return made
