"""Stores bytes on a local or mounted disk."""

from .storage import LocalStorage

__all__ = ["LocalStorage"]
