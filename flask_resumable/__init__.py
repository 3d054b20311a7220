"""Resumable uploads for Flask: files of any size over bad networks, and nothing lost."""

from __future__ import annotations

from .errors import ConfigurationError
from .errors import ResumableError
from .errors import UploadRejected
from .extension import FlaskResumable
from .models.upload import Upload

__all__ = ["ConfigurationError", "FlaskResumable", "ResumableError", "Upload", "UploadRejected"]
