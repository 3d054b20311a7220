"""Bytes in a store that speaks S3."""

from ..multipart.storage import S3Storage

__all__ = ["S3Storage"]
