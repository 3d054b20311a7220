"""The metrics themselves. Apps that share a registry share them."""

from __future__ import annotations

from threading import Lock
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry
from prometheus_client import Counter
from prometheus_client import Gauge
from prometheus_client import Histogram

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_UPLOAD = ("protocol", "storage")


class Instruments:
    """All metrics of the package in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"resumable_{name}", meaning, labels, registry=registry)

        def gauge(name: str, meaning: str, *labels: str, mode: str) -> Gauge:
            return Gauge(f"resumable_{name}", meaning, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

        def histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"resumable_{name}", meaning, labels, registry=registry, buckets=buckets)

        self.created = counter("uploads_created", "Uploads created.", *_UPLOAD)
        self.completed = counter("uploads_completed", "Uploads completed.", *_UPLOAD)
        self.removed = counter("uploads_removed", "Uploads removed, by reason.", *_UPLOAD, "reason")
        self.received = counter("received_bytes", "Bytes of content written to the storage.", *_UPLOAD)
        self.receiving = gauge("uploads_receiving", "Requests that are receiving content.", *_UPLOAD, mode="livesum")
        self.takeovers = counter("takeovers", "Uploads taken over from an earlier request.", "protocol")
        self.rescued = counter("rescued_bytes", "Bytes of earlier requests that a newer request has saved.", "protocol")
        self.requests = counter("requests", "Responses sent.", "protocol", "method", "status")
        self.errors = counter("errors", "Requests answered with an error.", "protocol", "error")
        self.hooks = histogram("hook_seconds", "Duration of the app's hooks.", _SLOW, "hook")
        self.hook_errors = counter("hook_errors", "Hooks that refused or failed.", "hook", "error")
        self.storage = histogram("storage_seconds", "Duration of storage calls.", _SLOW, "storage", "operation")
        self.storage_errors = counter("storage_errors", "Storage calls that failed.", "storage", "operation")
        self.database = histogram("database_seconds", "Duration of repository calls.", _FAST, "operation")
        self.store = histogram("object_store_seconds", "Duration of requests to an object store.", _SLOW, "operation")
        self.store_errors = counter("object_store_errors", "Requests to an object store that failed.", "operation")
        self.cleaned = gauge("cleanup_last_run_timestamp_seconds", "When delete_expired last ended.", mode="max")
        self.cleanup_seconds = counter("cleanup_seconds", "Seconds that delete_expired took.")
        self.cleaned_bytes = counter("cleanup_bytes", "Bytes freed by delete_expired.")
        self.orphans = counter("cleanup_orphans", "Unfinished bytes without a record, removed by delete_expired.")
        self.cleanup_failures = counter("cleanup_failures", "What delete_expired could not remove.")


_known: WeakKeyDictionary[CollectorRegistry, Instruments] = WeakKeyDictionary()
_lock = Lock()


def instruments_in(registry: CollectorRegistry) -> Instruments:
    """Return the metrics in a registry. The first app that uses it registers them."""
    with _lock:
        if registry not in _known:
            _known[registry] = Instruments(registry)
        return _known[registry]
