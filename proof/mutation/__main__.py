"""``python -m proof.mutation [MODULE ...]``: run the mutants of single modules, such as ``core/upload.py``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from proof.mutation.campaign import modules
from proof.mutation.campaign import mutate
from proof.mutation.tests import TESTS


def main() -> int:
    """Return 1 if a mutant survives that is not explained."""
    parser = argparse.ArgumentParser(prog="python -m proof.mutation")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="paths in the package; all by default")
    parser.add_argument("--data", type=Path, required=True, help="a folder for what is measured, and for the results")
    parser.add_argument("--survivors", type=Path, help="only what was not killed in this file of results")
    parser.add_argument("--seconds", type=float, default=20, help="of tests for one mutant")
    parser.add_argument("--minutes", type=float, help="begin no mutant later")
    parser.add_argument("--tests", nargs="*", default=TESTS)
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    keys = None
    if options.survivors:
        lines = [json.loads(line) for line in options.survivors.read_text().splitlines()]
        keys = [line["key"] for line in lines if line["outcome"] in ("survived", "not reached", "timeout", "broken")]
    until = time.time() + 60 * options.minutes if options.minutes else None
    chosen = options.modules or modules()
    result = mutate(chosen, options.data, tests=options.tests, keys=keys, seconds=options.seconds, until=until)
    print(*result.figures, *result.faults, sep="\n")
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
