"""``python -m proof.hostile.fuzz TARGET --seconds 600``: fuzz one target; exit with 77 if a rule is broken.

With atheris, the code's coverage guides the search. Without it, the inputs are changed at random.
"""

from __future__ import annotations

import argparse
import atexit
import importlib
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FAULT = 77  # the exit code of libFuzzer
SLOW = 30  # seconds that one input may take
MEMORY = 1024  # MiB that the process may have


def main() -> None:
    """Fuzz until the time is over, or a rule is broken."""
    parser = argparse.ArgumentParser(prog="python -m proof.hostile.fuzz")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True, help="for the corpus and for inputs that break a rule")
    parser.add_argument("--mutant", help="make this mistake")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        import atheris
    except ImportError:
        _at_random(options)
    else:
        _guided(atheris, options)


def _target(options: argparse.Namespace) -> Any:
    targets = importlib.import_module("proof.hostile.targets")
    importlib.import_module("proof.hostile.mutants").make_mistake(options.mutant)
    return targets.TARGETS[options.target]()


def _guided(atheris: Any, options: argparse.Namespace) -> None:
    with atheris.instrument_imports(include=["flask_resumable"]):
        target = _target(options)
    corpus = options.folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    words = options.folder / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    arguments = [
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed or 1}",
        f"-max_len={target.longest}",
        f"-timeout={SLOW}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={options.folder}/",
        f"-dict={words}",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)  # libFuzzer's, for which Python has no handler at its end
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], target.test)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _at_random(options: argparse.Namespace) -> None:
    target = _target(options)
    end, runs = time.monotonic() + options.seconds, 0
    for data in changed(target.seeds, target.words, random.Random(options.seed)):
        if time.monotonic() > end:
            break
        runs += 1
        try:
            target.test(data[: target.longest])
        except Exception:
            (options.folder / "crash-random").write_bytes(data[: target.longest])
            traceback.print_exc()
            print(f"stat::number_of_executed_units: {runs}")
            sys.exit(FAULT)
    print(f"stat::number_of_executed_units: {runs}")


def changed(seeds: list[bytes], words: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """Yield inputs without end, which are the seeds but for some changes, and changes of those."""
    pool = [*seeds]
    while True:
        data = bytearray(chance.choice(pool))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(5):
                case 0:
                    data[at:at] = chance.randbytes(chance.randrange(1, 5))
                case 1:
                    del data[at : at + chance.randrange(1, 9)]
                case 2:
                    data[at : at + 1] = chance.randbytes(1)
                case 3 if words:
                    data[at:at] = chance.choice(words)
                case _:
                    data[at:at] = chance.choice(pool)[:200]
        if chance.random() < 0.02 and len(pool) < 1000:
            pool.append(bytes(data[:2000]))
        yield bytes(data)


if __name__ == "__main__":
    main()
