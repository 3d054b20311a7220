"""The interfaces that repositories, storages and request bodies implement.

Start here to write a backend of your own. The rules (offsets, lengths, limits, expiry) are checked before any of these
methods is called. A repository resolves races, a storage keeps bytes, and neither knows about the other.
"""

from __future__ import annotations

from .body import Body
from .body import Incoming
from .body import Piped
from .body import Watch
from .capabilities import ChecksHealth
from .capabilities import ChoosesPlaces
from .capabilities import Concatenates
from .capabilities import HasClock
from .capabilities import KeepsProgress
from .capabilities import KnowsSpace
from .capabilities import LinksDownloads
from .capabilities import Locates
from .capabilities import LocatesRecords
from .capabilities import Moves
from .capabilities import NotesProgress
from .capabilities import Paced
from .capabilities import RepositoryCapabilities
from .capabilities import SendsRequests
from .capabilities import StorageCapabilities
from .capabilities import TakesPiped
from .capabilities import Verifies
from .capabilities import WriterCapabilities
from .chunks import IncomingChunk
from .chunks import PlacesChunks
from .chunks import Slot
from .hooks import Hooks
from .repository import Claim
from .repository import StateRepository
from .storage import Storage
from .storage import Writer

__all__ = [
    "Body",
    "ChecksHealth",
    "ChoosesPlaces",
    "Claim",
    "Concatenates",
    "HasClock",
    "Hooks",
    "Incoming",
    "IncomingChunk",
    "KeepsProgress",
    "KnowsSpace",
    "LinksDownloads",
    "Locates",
    "LocatesRecords",
    "Moves",
    "NotesProgress",
    "Paced",
    "Piped",
    "PlacesChunks",
    "RepositoryCapabilities",
    "SendsRequests",
    "Slot",
    "StateRepository",
    "Storage",
    "StorageCapabilities",
    "TakesPiped",
    "Verifies",
    "Watch",
    "Writer",
    "WriterCapabilities",
]
