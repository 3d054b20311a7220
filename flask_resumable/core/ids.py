"""The ids of uploads."""

from __future__ import annotations

import re

ID_PATTERN = re.compile(r"[0-9a-f]{32}")  # 128 random bits
