"""What a campaign is: a function that tries to break something, and says what it did and found."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Protocol


@dataclass
class Result:
    """What a campaign did and found."""

    figures: list[str] = field(default_factory=list)  # lines for the reader, such as "images: 1,204"
    faults: list[str] = field(default_factory=list)  # one line each, with what repeats it


class Campaign(Protocol):
    """The ``run`` of a campaign's module."""

    def __call__(self, *, seed: int, quick: bool, folder: Path | None) -> Result:
        """Run the campaign; equal seeds do equal things as far as the machine's timing allows.

        :param quick: Take minutes, not an hour.
        :param folder: Where files may be; a temporary folder if it is ``None``.
        """
        ...
