"""A Chromium to give orders to; ``driver.mjs`` is the other end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from typing import Self

from tests.prerequisites import require_program

HERE = Path(__file__).resolve().parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"


class BrowserError(Exception):
    """The browser could not do what it was told."""


class Chromium:
    """A browser without windows.

    :param home: Where it logs.
    """

    def __init__(self, executable: str, home: Path) -> None:
        node = require_program("node", "apt-get install nodejs")
        self._log = home / "browser.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [node, "driver.mjs", executable],
                cwd=HERE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._read()

    def close(self) -> None:
        """End it."""
        with self._process:  # closes the pipes, which ends the driver, which ends the browser
            pass

    def do(self, command: str, **args: Any) -> Any:
        """Give an order to the driver, and wait for what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **args}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BrowserError(self._log.read_text())
        answer = json.loads(line)
        if "error" in answer:
            raise BrowserError(answer["error"])
        return answer.get("result")


class Browser:
    """One window with a profile of its own."""

    def __init__(self, chromium: Chromium, **options: Any) -> None:
        self._chromium = chromium
        self._options = {"viewport": {"width": 1100, "height": 900}} | options

    def __enter__(self) -> Self:
        self._window = self._chromium.do("open", **self._options)
        return self

    def __exit__(self, *exception: object) -> None:
        self._do("close")

    def take_clock(self) -> None:
        """From the next page on, time can be moved with :meth:`forward`."""
        self._do("takeClock")

    def forward(self, seconds: int) -> None:
        """Let the page's time jump."""
        self._do("forward", seconds=seconds)

    # --- what a person does ---

    def goto(self, url: str) -> None:
        self._do("goto", url=url)

    def reload(self) -> None:
        self._do("reload")

    def click(self, selector: str) -> None:
        self._do("click", selector=selector)

    def press(self, key: str) -> None:
        self._do("press", key=key)

    def select(self, selector: str, value: str) -> None:
        self._do("select", selector=selector, value=value)

    def choose(self, *files: Path, within: str) -> None:
        """Choose files with a file picker."""
        self._do("setFiles", selector=within, files=[str(file) for file in files])

    def drop(self, *files: Path, onto: str) -> None:
        """Drag files or folders from the desktop, and drop them."""
        self._do("drop", selector=onto, files=[str(file) for file in files])

    def download(self, selector: str) -> Path:
        """Click, and return where the browser put what came."""
        return Path(self._do("download", selector=selector))

    def go_offline(self, is_offline: bool = True) -> None:
        self._do("offline", isOffline=is_offline)

    def forget_cookies(self) -> None:
        """Be somebody else from now on."""
        self._do("forgetCookies")

    # --- what a person sees ---

    def wait_for(self, selector: str, state: str = "visible") -> None:
        self._do("waitFor", selector=selector, state=state)

    def text(self, selector: str) -> str:
        return str(self._do("text", selector=selector))

    def texts(self, selector: str) -> list[str]:
        return [str(text) for text in self._do("texts", selector=selector)]

    def evaluate(self, script: str) -> Any:
        return self._do("evaluate", script=script)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Take a picture of the page, or only of what the window shows of it."""
        self._do("screenshot", path=str(path), whole=whole)

    def barriers(self) -> list[str]:
        """What axe finds that keeps people out: which rule is broken, and where."""
        return [f"{rule['id']}: {rule['targets']}" for rule in self._do("axe", source=str(AXE))]

    def complaints(self) -> list[str]:
        """Errors in the browser's console, but for connections that broke and answers that said no."""
        expected = ("Failed to load resource", "net::ERR_", "[Uppy]")
        return [text for text in self._do("complaints") if not any(part in text for part in expected)]

    def _do(self, command: str, **args: Any) -> Any:
        return self._chromium.do(command, window=self._window, **args)
