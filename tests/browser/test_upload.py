"""Files go in on the page, and come out on the server."""

from __future__ import annotations

import pytest

from .conftest import MakeFile
from .demo_server import DemoServer
from .demo_server import sha256
from .page import Page
from .waiting import until

pytestmark = pytest.mark.browser

MiB = 1024 * 1024


def test_file_arrives_whole(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """A file of several MiB, sent in one request, lies on the server byte for byte."""
    file = make_file("holiday.mov", 5 * MiB + 7)
    page.choose(file)
    page.wait_until("holiday.mov", "done")
    assert server.digests() == [sha256(file)]
    page.browser.wait_for(page.finished("holiday.mov"))


def test_pieces(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """A file sent in many requests lies on the server byte for byte."""
    file = make_file("pieces.bin", MiB + 1)
    page.send_in_pieces(65536)
    page.choose(file)
    page.wait_until("pieces.bin", "done")
    assert server.digests() == [sha256(file)]


def test_many_files(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """More files than may go at once all arrive."""
    files = [make_file(f"{number}.bin", 100_000 + number) for number in range(9)]
    page.choose(*files)
    for file in files:
        page.wait_until(file.name, "done")
    assert server.digests() == sorted(sha256(file) for file in files)


def test_empty_file(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """A file of no bytes is a file."""
    page.choose(make_file("empty.txt", 0))
    page.wait_until("empty.txt", "done")
    assert [path.stat().st_size for path in server.folder.iterdir() if path.is_file()] == [0]


def test_parallel_parts(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """A file sent in parts side by side is put together on the server, and the parts are cleared away."""
    file = make_file("parts.bin", 4 * MiB + 3)
    page.send_in_parts(4)
    page.choose(file)
    page.wait_until("parts.bin", "done")
    assert server.digests() == [sha256(file)]
    until(lambda: not server.uploads()["unfinished"], "the parts are removed")


def test_refused_file(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """What the app's on_create says to a file it refuses can be read on the page, and the other file goes its way."""
    page.choose(make_file("setup.exe", 1000), make_file("notes.txt", 1000))
    page.wait_until("setup.exe", "failed")
    page.wait_until("notes.txt", "done")
    assert page.note("setup.exe") == "Programs (.exe) are not welcome here; any other file is."
    assert len(server.digests()) == 1


def test_refused_in_parts(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """A file that goes in parts is refused before its bytes have travelled."""
    page.send_in_parts(3)
    page.choose(make_file("setup.exe", 3 * MiB))
    page.wait_until("setup.exe", "failed")
    until(lambda: not server.uploads()["unfinished"], "the other parts are refused, too")


def test_verify(page: Page, make_file: MakeFile) -> None:
    """The page compares the file on the server with the one that was sent, also after the page has lost it."""
    file = make_file("photo.jpg", 2 * MiB)
    page.choose(file)
    row = page.finished("photo.jpg")
    page.browser.click(f'{row} button:text-is("Verify")')
    page.browser.wait_for(f'{row}[data-verified="true"]')
    assert page.browser.text(f'{row} [data-part="digest"]') == f"SHA-256 {sha256(file)}"

    page.browser.reload()
    page.browser.click(f'{row} button:text-is("Verify")')
    page.browser.wait_for(f'{row}[data-verified="server"]')
    page.browser.choose(file, within=f'{row} [data-part="choice"]')
    page.browser.wait_for(f'{row}[data-verified="true"]')


def test_verify_finds_damage(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """A file that was changed on the server's disk is called different."""
    page.choose(make_file("photo.jpg", MiB))
    page.wait_until("photo.jpg", "done")
    (stored,) = (path for path in server.folder.iterdir() if path.is_file())
    stored.write_bytes(bytes(MiB))
    row = page.finished("photo.jpg")
    page.browser.click(f'{row} button:text-is("Verify")')
    page.browser.wait_for(f'{row}[data-verified="false"]')


def test_download_and_delete(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """A finished file comes back as it was, and can be removed for good."""
    file = make_file("letter.pdf", 300_000)
    page.choose(file)
    row = page.finished("letter.pdf")
    page.browser.wait_for(row)
    assert sha256(page.browser.download(f'{row} a:text-is("Download")')) == sha256(file)

    page.browser.click(f'{row} button:text-is("Delete")')
    page.browser.click(f'{row} button:text-is("Really delete?")')
    page.browser.wait_for(row, "detached")
    assert server.digests() == []


def test_names_are_text(page: Page, make_file: MakeFile) -> None:
    """A file name that looks like HTML is shown as it is, in every place."""
    name = "<img src=x onerror=alert(1)> & 'ü'.txt"
    page.choose(make_file(name, 1000))
    page.wait_until(name, "done")
    page.browser.wait_for(page.finished(name))
    assert page.browser.evaluate('document.querySelectorAll("main img").length') == 0


def test_cancel(page: Page, server: DemoServer, make_file: MakeFile) -> None:
    """Cancelling removes what the server had of the file."""
    page.send_in_pieces(65536)
    gate_file = make_file("big.bin", 8 * MiB)
    page.choose(gate_file)
    page.wait_until("big.bin", "sending")
    page.press("big.bin", "Cancel")
    page.browser.wait_for(page.card("big.bin"), "detached")
    until(lambda: not server.uploads()["unfinished"], "the upload is removed")
    assert server.digests() == []
