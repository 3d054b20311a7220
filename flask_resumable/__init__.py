"""Resumable uploads for Flask: files of any size over bad networks, without losing a byte."""

from __future__ import annotations

try:
    import fcntl as _fcntl  # noqa: F401
except ImportError:
    raise ImportError(
        "flask_resumable runs on Linux, macOS and BSD, not on Windows, which lacks the file locks that keep uploads "
        "safe. On a Windows machine, run it in WSL (set up by 'wsl --install') or in a Linux container."
    ) from None

from .core.answer import Answer
from .core.quota import Quota
from .errors import ConfigurationError
from .errors import ResumableError
from .errors import UploadRejected
from .extension import FlaskResumable
from .models.upload import Upload

__all__ = ["Answer", "ConfigurationError", "FlaskResumable", "Quota", "ResumableError", "Upload", "UploadRejected"]
