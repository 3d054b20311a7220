"""Stores uploads in object stores that support multipart uploads.

``store.py`` is the interface of such a store, for authors of backends. The other files work with any of them.
"""

from .errors import log_refusal
from .errors import Missing
from .errors import PartsChanged
from .errors import PartsRefused
from .errors import Taken
from .storage import MultipartStorage
from .store import ListedMultipart
from .store import ListedObject
from .store import ObjectInfo
from .store import ObjectStore
from .store import Part
from .store import SizedStream
from .store import StoreTraits

__all__ = [
    "ListedMultipart",
    "ListedObject",
    "Missing",
    "MultipartStorage",
    "ObjectInfo",
    "ObjectStore",
    "Part",
    "PartsChanged",
    "PartsRefused",
    "SizedStream",
    "StoreTraits",
    "Taken",
    "log_refusal",
]
