"""Bytes in a store that speaks S3."""

from .storage import S3Storage

__all__ = ["S3Storage"]
