"""What all clients know together: what they have finished, what may be taken from them, and what went wrong."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from dataclasses import field
from threading import Event

from proof.soak.cluster import Cluster
from proof.soak.mutants import Mutant

PATIENCE = 300.0  # seconds after which a client that gets nowhere is a fault
MAX_FAULTS = 50  # that are written down


@dataclass
class World:
    """The ledger. ``finished`` has the SHA-256 of each upload that a client was told is complete."""

    cluster: Cluster
    patience: float = PATIENCE
    mutant: Mutant | None = None  # the mistake that the nodes make
    is_over: Event = field(default_factory=Event)  # each client finishes its file, and stops
    is_stopped: Event = field(default_factory=Event)  # clients stop, whatever they are doing: the servers are gone
    finished: dict[str, str] = field(default_factory=dict)  # by id
    removed: set[str] = field(default_factory=set)  # ids of those that their client has removed afterwards
    current: dict[str, str] = field(default_factory=dict)  # paths that are being sent, by id
    exposed: set[str] = field(default_factory=set)  # ids of unfinished uploads whose file may be removed by hand
    kept: list[str] = field(default_factory=list)  # ids of finished uploads whose file may be removed by hand
    destroyed: set[str] = field(default_factory=set)  # ids of those whose file was
    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def port(self) -> int:
        """Where the proxy is now."""
        return self.cluster.port

    @property
    def is_shown(self) -> bool:
        """Whether the mistake has come to light, so that there is no need to go on."""
        return self.mutant is not None and any(map(self.mutant.is_shown, [*self.faults]))

    def fault(self, text: str) -> None:
        """Write down what must not be."""
        with self.lock:
            self.counts["faults"] += 1
            if len(self.faults) < MAX_FAULTS:
                self.faults.append(f"{time.strftime('%H:%M:%S')} {text}")

    def count(self, name: str, amount: int = 1) -> None:
        """Count something for the figures."""
        with self.lock:
            self.counts[name] += amount

    def answered(self, status: int) -> None:
        """Count a response."""
        with self.lock:
            self.statuses[status] += 1

    def finish(self, upload_id: str, digest: str) -> None:
        """A client was told that an upload is complete."""
        with self.lock:
            self.finished[upload_id] = digest
