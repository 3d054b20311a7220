"""Bytes on a disk of this machine, or one that is mounted."""

from .storage import LocalStorage

__all__ = ["LocalStorage"]
