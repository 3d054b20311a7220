"""Runs the apps of ``docs/authentication.md``."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

PAGE = (Path(__file__).parents[2] / "docs" / "authentication.md").read_text()


def apps() -> dict[str, str]:
    """The code of each complete app on the page, by the module that it shows, such as ``flask_login``."""
    found: dict[str, str] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        if "Flask(__name__)" in code:
            shown = [name for name in re.findall(r"^from (flask_\w+)", code, re.MULTILINE) if name != "flask_resumable"]
            found[shown[0] if shown else ""] = code
    return found


@contextmanager
def running(shown: str, folder: Path) -> Iterator[ModuleType]:
    """Import an app from a folder of its own, as its reader would."""
    name = f"app_of_{shown or 'the_guide'}"
    path = folder / f"{name}.py"
    path.write_text(apps()[shown])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[name]
