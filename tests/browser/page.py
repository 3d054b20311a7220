"""The demo page by the names that a person has for its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .browser import Browser

UPPY = "#panel-uppy .uppy-Dashboard"


@dataclass(frozen=True)
class Page:
    """The page in a browser."""

    browser: Browser
    tab: str = "tus"

    def choose(self, *files: Path) -> None:
        """Choose files in the tab's picker."""
        picker = f"{UPPY} .uppy-Dashboard-input >> nth=0" if self.tab == "uppy" else self._part("files")
        self.browser.choose(*files, within=picker)

    def card(self, name: str, state: str = "") -> str:
        """A selector for the card of one upload."""
        condition = f'[data-state="{state}"]' if state else ""
        return f'.card{condition}:has([data-part="name"]:text-is("{name}"))'

    def wait_until(self, name: str, state: str) -> None:
        """Wait for an upload to be in a state."""
        self.browser.wait_for(self.card(name, state))

    def note(self, name: str) -> str:
        """What the card says about the upload's state."""
        return self.browser.text(f'{self.card(name)} [data-part="note"]')

    def press(self, name: str, label: str) -> None:
        """Press a button of a card."""
        self.browser.click(f'{self.card(name)} button:text-is("{label}")')

    def finished(self, name: str) -> str:
        """A selector for the row of a finished file."""
        return f'[data-part="finished"] .row:has([data-part="name"]:text-is("{name}"))'

    def earlier(self) -> str:
        """A selector for the rows of what an earlier visit left unfinished."""
        return f"{self._part('earlier')} .row"

    def under_way(self) -> str:
        """A selector for the rows of what the server is still waiting for."""
        return '[data-part="unfinished"] .row'

    def send_in_pieces(self, size: int) -> None:
        """Have files sent in requests of this many bytes from now on."""
        self._set("chunk-size", str(size))

    def send_in_parts(self, number: int) -> None:
        """Have files sent in this many parts side by side from now on."""
        self._set("parallel", str(number))

    def send_as(self, method: str) -> None:
        """Have chunks sent as "multipart" or "octet" from now on."""
        self._set("method", method)

    def clear_uppy(self) -> None:
        """Put away what Uppy shows of files that are done or have failed, so that it takes other ones."""
        self.browser.click(f'{UPPY} :is(button[aria-label="Cancel"], .uppy-DashboardContent-back) >> nth=0')

    def _set(self, knob: str, value: str) -> None:
        self.browser.evaluate(f'document.querySelector("#panel-{self.tab} .knobs").open = true')
        self.browser.select(self._part(knob), value)

    def _part(self, name: str) -> str:
        return f'#panel-{self.tab} [data-part="{name}"]'
