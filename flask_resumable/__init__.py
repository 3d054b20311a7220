"""Resumable uploads for Flask: files of any size over bad networks, and nothing lost."""

from __future__ import annotations

from .core.answer import Answer
from .errors import ConfigurationError
from .errors import ResumableError
from .errors import UploadRejected
from .extension import FlaskResumable

__all__ = ["Answer", "ConfigurationError", "FlaskResumable", "ResumableError", "UploadRejected"]
