"""The list of protocols. Add yours here."""

from __future__ import annotations

from .flow.server import FLOW
from .ietf.server import IETF
from .plug import Plug
from .tus.server import TUS

PROTOCOLS: tuple[Plug, ...] = (TUS, FLOW, IETF)
