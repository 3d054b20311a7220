"""Prometheus metrics, with ``pip install "Flask-Resumable[metrics]"``. docs/monitoring.md lists them."""

from __future__ import annotations

from .page import metrics_page

__all__ = ["metrics_page"]
