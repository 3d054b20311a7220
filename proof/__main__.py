"""``python -m proof [CAMPAIGN ...]``: run campaigns, and say what each of them found."""

from __future__ import annotations

import argparse
import importlib
import secrets
import signal
import sys
from pathlib import Path

from proof.campaign import Campaign

# In the order in which they run: the name, its module, and what it does.
CAMPAIGNS: dict[str, tuple[str, str]] = {
    "soak": ("proof.soak.campaign", "200 clients for an hour, and on S3, while nodes, database, store and clocks fail"),
    "hostile": ("proof.hostile.campaign", "fuzzing of forms, header fields and whole requests"),
    "mutation": ("proof.mutation.campaign", "small changes to the rules, each of which must make a test fail"),
    "models": ("proof.models", "a state machine over HTTP, whose answers are compared with a model"),
    "kills": ("proof.kills.campaign", "kill -9 at random moments, 10,000 times"),
    "histories": ("proof.histories.campaign", "histories of several processes, checked for linearizability"),
    "power": ("proof.power.campaign", "lose power at each moment, and ask for everything again (as root; hours)"),
    "power-mutants": ("proof.power.mutant_campaign", "make faults on purpose that losses of power must show"),
}


def main() -> int:
    """Run the campaigns, each with its seed; return 1 if one found a fault."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # and end what was started
    unknown = [name for name in options.campaigns if name not in CAMPAIGNS]
    if unknown:
        sys.exit(f"There is no campaign {unknown[0]!r}. There are: {', '.join(CAMPAIGNS)}.")
    faults = 0
    for name in options.campaigns or CAMPAIGNS:
        run: Campaign = importlib.import_module(CAMPAIGNS[name][0]).run
        print(f"== {name}, seed {options.seed}", flush=True)
        result = run(seed=options.seed, quick=options.quick, folder=options.data)
        for line in result.figures:
            print(line)
        for fault in result.faults:
            print(f"FAULT: {fault}")
        print(f"== {name}: {len(result.faults)} faults", flush=True)
        faults += len(result.faults)
    return 1 if faults else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m proof",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="campaigns:\n" + "\n".join(f"  {name:<15}{text}" for name, (_, text) in CAMPAIGNS.items()),
    )
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help="all by default")
    parser.add_argument("--quick", action="store_true", help="take minutes for each campaign, not an hour")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="repeat a run; random by default")
    parser.add_argument("--data", type=Path, help="a folder for the files; a temporary one by default")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
