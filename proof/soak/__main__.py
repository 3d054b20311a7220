"""``python -m proof.soak --minutes 60 --clients 200``: the same campaign, shorter or longer."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
from pathlib import Path

from proof.soak.campaign import CLIENTS
from proof.soak.campaign import hunt
from proof.soak.campaign import MINUTES
from proof.soak.campaign import soak
from proof.soak.mutants import MUTANTS
from proof.soak.stores import STORES


def main() -> int:
    """Run it; return 1 if it found a fault."""
    parser = argparse.ArgumentParser(prog="python -m proof.soak")
    parser.add_argument("--store", choices=STORES, default="disk")
    parser.add_argument("--minutes", type=float, help="an hour, or twenty minutes on S3, by default")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--mutant", choices=MUTANTS, help="make this mistake, which must be found")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # and end what was started
    if options.mutant is not None:
        is_found, text = hunt(MUTANTS[options.mutant], seed=options.seed, folder=options.data)
        print(text)
        return 0 if is_found else 1
    minutes = MINUTES[options.store] if options.minutes is None else options.minutes
    result = soak(seed=options.seed, folder=options.data, store=options.store, minutes=minutes, amount=options.clients)
    print("\n".join([*result.figures, *(f"FAULT: {fault}" for fault in result.faults)]))
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
