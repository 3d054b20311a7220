"""Makes the README's moving picture: the demo, while a worker is killed in the middle of an upload.

``make picture`` writes it to ``docs/demo.gif``. It is what a real browser shows of a real upload.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from tests.prerequisites import require_npm_packages
from tests.prerequisites import require_program

from .browser import Browser
from .browser import Chromium
from .demo_server import DemoServer
from .demo_server import ROOT
from .page import Page

TARGET = ROOT / "docs" / "demo.gif"
SIZE = {"width": 1000, "height": 720}
NAME = "holiday.mp4"
LENGTH = 14 * 1024 * 1024  # bytes; some seconds on the demo's slow network
EVERY = 0.4  # seconds from one frame to the next
COLOURS = 128


class Film:
    """Frames, each with the time for which it is shown, in milliseconds."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser = browser
        self._path = folder / "frame.png"
        self._frames: list[tuple[Image.Image, int]] = []

    def take(self, duration: float = EVERY) -> None:
        """Take what the browser shows now."""
        self._browser.screenshot(self._path, whole=False)
        self._frames.append((Image.open(BytesIO(self._path.read_bytes())).convert("RGB"), round(duration * 1000)))

    def take_until(self, selector: str) -> None:
        """Take frames until something is on the page."""
        while not self._browser.texts(selector):
            self.take()
            time.sleep(EVERY)

    def save(self, target: Path) -> None:
        """Write a GIF whose frames have one palette: what does not change takes no room."""
        images = [image for image, _ in self._frames]
        palette = _side_by_side(images[:: len(images) // 6]).quantize(COLOURS)
        first, *others = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
        durations = [duration for _, duration in self._frames]
        first.save(target, save_all=True, append_images=others, duration=durations, loop=0, optimize=True)


def _side_by_side(images: list[Image.Image]) -> Image.Image:
    width, height = images[0].size
    sheet = Image.new("RGB", (width * len(images), height))
    for number, image in enumerate(images):
        sheet.paste(image, (width * number, 0))
    return sheet


def play(browser: Browser, server: DemoServer, folder: Path) -> Film:
    """Upload a file, kill the worker that receives it, and see it arrive."""
    film = Film(browser, folder)
    page = Page(browser)
    file = folder / NAME
    file.write_bytes(random.randbytes(LENGTH))
    browser.goto(server.url)
    browser.wait_for("#network")
    browser.click('#network [data-part="slow"]')
    browser.wait_for('#network [data-part="slow"]:checked')
    film.take(1.5)
    page.choose(file)
    for _ in moments(7):
        film.take()
    browser.click('[data-part="kill"]')
    film.take_until(f'{page.card(NAME)} [data-part="cost"]:text-matches("Sent twice")')  # states may be gone too soon
    film.take(1.5)
    film.take_until(page.finished(NAME))
    time.sleep(1)  # until the network's last count has come
    film.take(5)
    return film


def moments(number: int) -> Iterator[int]:
    """Wait between the frames."""
    for count in range(number):
        time.sleep(EVERY)
        yield count


def main() -> None:
    for package in (ROOT / "demo", ROOT / "tests" / "browser"):
        require_npm_packages(package)
    with TemporaryDirectory() as name:
        folder = Path(name)
        server = DemoServer(folder, "make")
        server.start()
        chromium = Chromium(require_program("chromium", "apt-get install chromium"), folder)
        try:
            with Browser(chromium, viewport=SIZE, colorScheme="light") as browser:
                play(browser, server, folder).save(TARGET)
        finally:
            chromium.close()
            server.kill()
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
