"""Campaigns that try to break what docs/promises.md promises: ``python -m proof``."""
