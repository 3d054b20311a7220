"""``python -m proof.soak --minutes 60 --clients 200``: the same campaign, shorter or longer."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
from pathlib import Path

from proof.soak.campaign import CLIENTS
from proof.soak.campaign import MINUTES
from proof.soak.campaign import soak


def main() -> int:
    """Run it; return 1 if it found a fault."""
    parser = argparse.ArgumentParser(prog="python -m proof.soak")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # and end what was started
    result = soak(seed=options.seed, folder=options.data, minutes=options.minutes, amount=options.clients)
    print("\n".join([*result.figures, *(f"FAULT: {fault}" for fault in result.faults)]))
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
