"""Records a story, loses the power at every moment of it, and checks each disk.

Processes are forked from one that has imported everything, because a story or a check is shorter than a start.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import time
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import as_completed
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import Any
from typing import Self

from .app import Setup
from .check import Broken
from .check import Check
from .check import reboot
from .disks import FILE_SYSTEMS
from .disks import mounted_image
from .disks import recorded_disk
from .mutants import Mutant
from .recording import Disk
from .recording import Image
from .recording import Recording
from .scratch import quick_parent
from .scratch import scratch
from .stopping import become_child
from .stopping import die_with_parent
from .stopping import interruptible
from .stopping import leave_signals_to_parent
from .story import Notes
from .story import Story
from .story import write_back

_STORY = 900.0  # seconds for a story
_CHECK = 300.0  # seconds for the check of one image


@dataclass(frozen=True)
class Told:
    """What a story leaves behind."""

    recording: Recording
    notes: Notes
    cleaning_from: int | None  # the operation from which the clock was ahead


@dataclass
class Outcome:
    """What came of the images of one recording."""

    setup: Setup
    images: int = 0
    writes: int = 0
    flushes: int = 0
    seconds: float = 0
    lost: int = 0
    faults: list[str] = field(default_factory=list)


def record(setup: Setup, seed: int, chapters: tuple[str, ...], folder: Path, mutant: Mutant | None = None) -> Told:
    """Play a story in another process, and return what its disk was told."""
    with recorded_disk(FILE_SYSTEMS[setup.file_system], folder) as disk:
        home = disk.mounted / "home"
        home.mkdir()

        def play() -> bytes:
            if mutant is not None:
                mutant.apply()
            notes = Notes(lambda: disk.count)
            with RestlessKernel(home, seed) as kernel:
                story = Story(home, setup, notes, kernel.quiet)
                disk.sync()
                start = disk.count
                kernel.begin()
                story.play(chapters)
            return pickle.dumps((start, notes.entries))

        start, entries = pickle.loads(in_child(play, _STORY))
    notes = Notes(lambda: 0, entries)
    cleaning = next((count for count, name, facts in entries if name == "stale" and "is_doomed" in facts), None)
    return Told(disk.recording(start), notes, cleaning)


class RestlessKernel:
    """Lets the kernel write pages of random files at random moments, as it may. It flushes nothing then."""

    def __init__(self, home: Path, seed: int) -> None:
        self._home = home
        self._seed = seed
        self._pid = 0

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Let it begin, in a process of its own."""
        self._pid = os.fork()
        if self._pid == 0:
            try:
                die_with_parent()
                self._run()
            finally:
                os._exit(1)

    def _run(self) -> None:
        chance = random.Random(self._seed)
        while True:
            files = [file for file in self._home.rglob("*") if file.is_file()]
            with suppress(OSError, IndexError):
                descriptor = os.open(chance.choice(files), os.O_RDONLY)
                write_back(descriptor)
                os.close(descriptor)
            time.sleep(chance.random() * 0.004)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Within the context, nothing is written that nobody has asked for."""
        os.kill(self._pid, signal.SIGSTOP)
        os.waitpid(self._pid, os.WUNTRACED)
        try:
            yield
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def __exit__(self, *error: object) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


def in_child(work: Callable[[], bytes], seconds: float) -> bytes:
    """Do some work in a forked process, and return what it returns.

    :param seconds: How long it may take.
    :raises Broken: It said so, or it has failed or taken too long.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        become_child(seconds)
        os.close(reader)
        done: bytes
        try:
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 1)
                os.dup2(nothing.fileno(), 2)
            done = b"+" + work()
        except Broken as error:
            done = b"-" + str(error).encode()
        except BaseException:
            done = b"-" + _last_lines(traceback.format_exc()).encode()
        with suppress(OSError):
            while done:
                done = done[os.write(writer, done) :]
        os._exit(0)
    os.close(writer)
    try:
        with open(reader, "rb") as pipe, interruptible():
            said = pipe.read()
    finally:
        with suppress(ProcessLookupError):  # it has not become a group, and so has done nothing yet
            os.killpg(pid, signal.SIGKILL)  # with all that it has started
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if not said.startswith(b"+"):
        why = "has taken too long" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else "has died"
        raise Broken(said[1:].decode() or f"the process {why}")
    return said[1:]


def _last_lines(text: str) -> str:
    """Return where an error came from, and what it says, in one line."""
    lines = [" ".join(line.split()) for line in text.strip().splitlines()]
    place = [line for line in lines if line.startswith("File")][-1:]
    return " | ".join([lines[-1][:400], *place])


def try_images(told: Told, setup: Setup, images: Sequence[Image], mutant: Mutant | None, workers: int) -> Outcome:
    """Check many images of a recording; those of a mutant until one shows it."""
    global _now
    began = time.monotonic()
    outcome = Outcome(setup, writes=told.recording.writes, flushes=told.recording.flushes)
    _now = (told, setup, mutant)
    _is_enough.value = 0
    workers = 1 if FILE_SYSTEMS[setup.file_system].is_unique else workers
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=leave_signals_to_parent) as pool:
        tries = [pool.submit(_try_image, image) for image in images]
        try:
            completed = as_completed(tries)
            while True:
                with interruptible():
                    done = next(completed, None)
                if done is None:
                    break
                name, fault, lost = done.result()
                if _is_enough.value:
                    continue  # a worker must not be ended while it has an image mounted
                outcome.images += 1
                outcome.lost += lost
                if fault is not None:
                    outcome.faults.append(f"{setup}: image {name}: {fault}")
                    _is_enough.value = mutant is not None
        except BaseException:
            _is_enough.value = True  # the workers finish what they are at
            raise
    outcome.seconds = time.monotonic() - began
    return outcome


_now: tuple[Told, Setup, Mutant | None]
_disk: Disk | None = None
_is_enough: Any = multiprocessing.get_context("fork").Value("b", 0)


def _try_image(image: Image) -> tuple[str, str | None, int]:
    """Mount one image and check it, in a worker."""
    global _disk
    told, setup, mutant = _now
    if _is_enough.value:
        return image.name, None, 0
    if _disk is None:
        _disk = Disk(told.recording)
    with scratch(quick_parent()) as folder:
        file, mounted = folder / "image", folder / "mounted"
        mounted.mkdir()
        _disk.make(image, file)
        try:
            return image.name, None, check_image(told, setup, image, file, mounted, mutant)
        except Exception as error:
            return image.name, str(error) or repr(error), 0


def check_image(told: Told, setup: Setup, image: Image, file: Path, mounted: Path, mutant: Mutant | None = None) -> int:
    """Mount an image and check it. Return how many answered bytes are lost, where that may happen."""
    known = told.notes.until(image.moment)
    is_ahead = told.cleaning_from is not None and image.moment >= told.cleaning_from

    def check() -> bytes:
        reboot()
        if mutant is not None:
            mutant.apply()
        checked = Check(mounted / "home", setup, known, timedelta(days=8) if is_ahead else timedelta())
        checked.run()
        return str(checked.lost).encode()

    with mounted_image(FILE_SYSTEMS[setup.file_system], file, mounted):
        return int(in_child(check, _CHECK))


def warm_up() -> None:
    """Do once what libraries do once and keep."""
    with scratch(quick_parent()) as folder:
        for database in ("embedded", "delete"):
            home = folder / database
            home.mkdir()
            Story(home, Setup(database=database), Notes(lambda: 0)).play(("whole", "chunks", "cleaning"))


def chosen(images: Iterator[Image], limit: int | None, seed: int) -> list[Image]:
    """Return all images, or a random choice of them, in order."""
    found = [*images]
    if limit is None or len(found) <= limit:
        return found
    return [found[index] for index in sorted(random.Random(seed).sample(range(len(found)), limit))]
