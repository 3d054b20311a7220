"""Registers with the app of ``flask tus init``, uploads a file in two requests, and finds it in the list."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Mapping
from http.cookiejar import CookieJar
from urllib.error import URLError
from urllib.parse import urlencode

PATIENCE = 60.0  # seconds
Headers = Mapping[str, str]
TUS = {"Tus-Resumable": "1.0.0"}


def main(site: str) -> None:
    """Do all of that."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def ask(path: str, method: str = "GET", data: bytes = b"", headers: Headers | None = None) -> tuple[str, str]:
        request = urllib.request.Request(site + path, data or None, {**(headers or {})}, method=method)
        with opener.open(request, timeout=PATIENCE) as response:
            return response.headers.get("Location") or "", response.read().decode()

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            ask("/login")
            break
        except URLError:  # it is starting
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    ask("/login", "POST", urlencode({"name": "Ada", "password": "correct horse", "register": "1"}).encode())
    said = {**TUS, "Upload-Length": "11", "Upload-Metadata": "filename YS50eHQ="}
    url, _ = ask("/files/", "POST", headers=said)
    path = "/files/" + url.rpartition("/")[2]
    octets = {**TUS, "Content-Type": "application/offset+octet-stream"}
    ask(path, "PATCH", b"hello ", {**octets, "Upload-Offset": "0"})
    ask(path, "PATCH", b"world", {**octets, "Upload-Offset": "6"})
    assert f'<a href="{path}">a.txt</a>, 11 Bytes' in ask("/")[1]
    assert ask(path)[1] == "hello world"


if __name__ == "__main__":
    main(sys.argv[1])
