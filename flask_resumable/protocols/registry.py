"""The protocols that there are."""

from __future__ import annotations

from .flow.server import FLOW
from .plug import Plug
from .tus.server import TUS

PROTOCOLS: tuple[Plug, ...] = (TUS, FLOW)
