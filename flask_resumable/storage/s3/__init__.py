"""Stores uploads in a bucket of an S3-compatible store."""

from .storage import S3Storage

__all__ = ["S3Storage"]
