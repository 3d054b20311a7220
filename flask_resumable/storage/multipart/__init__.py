"""Bytes in object stores that take them in parts.

``store.py`` is the interface of such a store, for authors of backends; the other files work over any of them.
"""

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
]
