"""The page that Prometheus reads."""

from __future__ import annotations

import os

from flask import request
from flask import Response
from prometheus_client import CollectorRegistry
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector


def metrics_page(registry: CollectorRegistry = REGISTRY) -> Response:
    """Return the response to a request of Prometheus, for a view of your own.

    ::

        from flask_resumable.metrics import metrics_page

        @app.get("/internal/metrics")
        @login_required
        def metrics():
            return metrics_page()

    It contains all metrics of the registry, also those of other libraries and your own. If ``PROMETHEUS_MULTIPROC_DIR``
    is set, it contains those of all processes.

    :param registry: The registry that ``RESUMABLE_METRICS`` names.
    """
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), content_type=content_type)
