"""The guide's JavaScript, with the real flow.js in node; that it works in a browser is shown by ``tests/browser``."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.live.conftest import Serve as ServeLive
from tests.live.servers import Server
from tests.prerequisites import require_npm_packages
from tests.prerequisites import require_program
from tests.prerequisites import ROOT

from .site import sample
from .socket_client import address
from .socket_client import json_of
from .socket_client import octet

pytestmark = pytest.mark.live

HERE = Path(__file__).parent
GUIDE = (ROOT / "docs" / "flow.md").read_text()
(RECIPE,) = (block for block in re.findall(r"```js\n(.*?)```", GUIDE, re.DOTALL) if "/flow/status" in block)
FILE = sample(100, 10, identifier="100-reportcsv")  # as flow.js makes it


@pytest.fixture
def library() -> Path:
    """flow.js, as the demo has it."""
    return require_npm_packages(ROOT / "demo") / "@flowjs" / "flow.js" / "dist" / "flow.js"


def upload(server: Server, library: Path, folder: Path) -> Counter[str]:
    """Let flow.js send the file; the requests that this took."""
    (folder / "recipe.js").write_text(RECIPE)
    origin = f"http://127.0.0.1:{server.port}"
    paths = [str(HERE / "recipe.mjs"), origin, str(library), str(folder / "recipe.js")]
    command = [require_program("node", "apt-get install nodejs"), *paths, str(FILE.size), str(FILE.chunk)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return Counter(json.loads(done.stdout.splitlines()[-1]))


def test_the_guides_recipe_spares_the_question_for_each_chunk(
    serve_live: ServeLive, library: Path, tmp_path: Path
) -> None:
    """Of ten chunks six are there: one question, and four chunks are sent; the file is whole."""
    server = serve_live("gthread", tmp_path / "home")
    with server.tus.connect() as connection:
        for number in (1, 2, 5, 6, 7, 10):
            octet(connection, FILE, number)
    assert upload(server, library, tmp_path) == {"GET /flow/status": 1, "POST /flow/": 4}
    answer = json_of(server.tus.request("GET", address(FILE, 1, "status")))
    assert (answer["complete"], answer["missing"]) == (True, [])
    assert (server.folder / answer["id"]).read_bytes() == FILE.content


def test_the_recipe_does_no_harm_to_new_and_to_finished_files(
    serve_live: ServeLive, library: Path, tmp_path: Path
) -> None:
    """A file that is new here is sent whole; one that is finished is not sent again."""
    server = serve_live("gthread", tmp_path / "home")
    assert upload(server, library, tmp_path)["POST /flow/"] == 10
    assert upload(server, library, tmp_path)["POST /flow/"] == 0
    answer = json_of(server.tus.request("GET", address(FILE, 1, "status")))
    assert (server.folder / answer["id"]).read_bytes() == FILE.content
    assert len(server.receipts(answer["id"])) == 1
