"""Counts what happens to uploads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from prometheus_client import REGISTRY

from ..core.placement import storage_of
from ..core.upload import Upload
from ..errors import ClaimLost
from ..errors import ConfigurationError
from ..errors import UploadRejected
from ..interfaces.observer import Activity
from ..interfaces.observer import Cleanup
from ..interfaces.observer import Kind
from ..interfaces.observer import Observer
from ..interfaces.observer import Removal
from .instruments import instruments_in

_ACTIVITY = Activity()


class Metrics(Observer):
    """Keeps the metrics of an app.

    :param registry: Where they are registered. Labels never have ids, owners or names of files.
    :param storage: The name of the default storage.
    """

    kinds = frozenset(Kind)

    def __init__(self, storage: str, registry: CollectorRegistry = REGISTRY) -> None:
        _check_folder()
        self._default = storage
        self._metrics = instruments_in(registry)

    def created(self, upload: Upload) -> None:
        self._metrics.created.labels(*self._of(upload)).inc()

    def completed(self, upload: Upload) -> None:
        self._metrics.completed.labels(*self._of(upload)).inc()

    def removed(self, upload: Upload, why: Removal) -> None:
        self._metrics.removed.labels(*self._of(upload), why.value).inc()

    def took_over(self, upload: Upload) -> None:
        self._metrics.takeovers.labels(_protocol(upload)).inc()

    def rescued(self, upload: Upload, size: int) -> None:
        self._metrics.rescued.labels(_protocol(upload)).inc(size)

    def cleaned(self, run: Cleanup) -> None:
        self._metrics.cleaned.set_to_current_time()
        self._metrics.cleanup_seconds.inc(run.seconds)
        self._metrics.cleaned_bytes.inc(run.bytes)
        self._metrics.orphans.inc(run.orphans)
        self._metrics.cleanup_failures.inc(run.failed)

    def responded(self, protocol: str, method: str, status: int, error: str | None) -> None:
        self._metrics.requests.labels(protocol, method, str(status)).inc()
        if error is not None:
            self._metrics.errors.labels(protocol, error).inc()

    def meter(self, upload: Upload) -> Callable[[int], object]:
        return self._metrics.received.labels(*self._of(upload)).inc

    def doing(self, kind: Kind, operation: str, upload: Upload | None = None) -> AbstractContextManager[Activity]:
        return self._doing(kind, operation, upload)

    @contextmanager
    def _doing(self, kind: Kind, operation: str, upload: Upload | None) -> Iterator[Activity]:
        if kind is Kind.RECEIVE:
            with self._metrics.receiving.labels(*self._of(upload)).track_inprogress():
                yield _ACTIVITY
            return
        began = time.perf_counter()
        try:
            yield _ACTIVITY
        except Exception as error:
            self._count(kind, operation, upload, error)
            raise
        finally:
            self._time(kind, operation, upload, time.perf_counter() - began)

    def _count(self, kind: Kind, operation: str, upload: Upload | None, error: Exception) -> None:
        if kind is Kind.HOOK:
            what = "refused" if isinstance(error, UploadRejected) else "failed"
            self._metrics.hook_errors.labels(operation, what).inc()
        elif kind is Kind.STORAGE and not isinstance(error, ClaimLost):
            self._metrics.storage_errors.labels(self._of(upload)[1], operation).inc()
        elif kind is Kind.STORE:
            self._metrics.store_errors.labels(operation).inc()

    def _time(self, kind: Kind, operation: str, upload: Upload | None, seconds: float) -> None:
        if kind is Kind.HOOK:
            self._metrics.hooks.labels(operation).observe(seconds)
        elif kind is Kind.STORAGE:
            self._metrics.storage.labels(self._of(upload)[1], operation).observe(seconds)
        elif kind is Kind.STORE:
            self._metrics.store.labels(operation).observe(seconds)
        else:
            self._metrics.database.labels(operation).observe(seconds)

    def _of(self, upload: Upload | None) -> tuple[str, str]:
        if upload is None:
            return "unknown", self._default
        return _protocol(upload), storage_of(upload.storage) or self._default


def _protocol(upload: Upload) -> str:
    return upload.protocol or "unknown"


def _check_folder() -> None:
    """Say what is wrong with the folder of ``prometheus_client``, which would only name a file of its own."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder and not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
        problem = "may not write to" if os.path.isdir(folder) else "does not find"
        raise ConfigurationError(
            f"The environment variable PROMETHEUS_MULTIPROC_DIR names {folder!r}, a folder that this process {problem}:"
            " create it before the app starts, for the user that runs the app, or unset the variable."
        )
