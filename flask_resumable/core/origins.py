"""Origins of web pages: which of them an app allows, as browsers write them.

Spec: Fetch, "Origin header"; HTML, "serialization of an origin".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError
from ipaddress import IPv4Address
from ipaddress import IPv6Address

ANY = "*"
OPAQUE = "null"  # sent by sandboxed frames, files and some redirects, so by pages of any site
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[^:]*))?", re.IGNORECASE)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IN_URLS = "/?#@"  # in other parts of a URL than scheme, host and port
_IN_EXPRESSIONS = frozenset("\\^$()|{}")
_ANYWHERE = "https://any.invalid"  # .invalid is reserved, so nobody can mean it

Pattern = re.Pattern[str]


def normal_origin(text: str) -> str:
    """Return an origin or a pattern as browsers write origins: in lower case, without a default port.

    In a pattern, ``*.`` at the start of the host stands for one or more whole labels.

    :raises ValueError: No page can have such an origin. The message says why.
    """
    if text in (ANY, OPAQUE):
        return text
    if _IN_EXPRESSIONS & set(text):
        raise ValueError(f"{text!r} looks like a regular expression: pass re.compile(...), which must match all of it")
    if "," in text or any(character.isspace() for character in text):
        raise ValueError(f"{text!r} is not one origin without spaces: list each one by itself")
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"{text!r} has no scheme: write 'https://{text}', or 'http://{text}'")
    for mark in _IN_URLS:
        if mark in rest:
            raise ValueError(f"{text!r} has a {mark!r}: an origin is only scheme, host and port, without a final '/'")
    found = _ORIGIN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an origin such as 'https://example.org'")
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        return _of_other_scheme(text, scheme, rest)
    return f"{scheme}://{_host(text, found['host'].lower())}{_port(text, scheme, found['port'])}"


def _of_other_scheme(text: str, scheme: str, rest: str) -> str:
    """Accept origins of apps and browser extensions, such as ``capacitor://localhost``. Their case matters."""
    if scheme == "file":
        raise ValueError(f"{text!r}: files have the origin 'null'")
    if not rest or "*" in rest or not rest.isascii():
        raise ValueError(f"{text!r} is not an origin such as 'https://example.org'")
    return f"{scheme}://{rest}"


def _host(text: str, host: str) -> str:
    if not host.isascii():
        raise ValueError(f"{text!r}: browsers send such a host in ASCII, as 'xn--...'")
    if host.startswith("["):
        try:
            return f"[{IPv6Address(host[1:-1].replace('%', ' ')).compressed}]"  # no zones
        except AddressValueError:
            raise ValueError(f"{text!r} has no valid IPv6 address") from None
    is_pattern = host.startswith("*.")
    name = host.removeprefix("*.")
    if "*" in name:
        raise ValueError(f"{text!r}: '*' is only possible as '*.' at the start of the host, for whole labels")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} has no valid host")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            IPv4Address(name)
        except AddressValueError:
            raise ValueError(f"{text!r} has no valid IPv4 address") from None
        if is_pattern:
            raise ValueError(f"{text!r}: addresses have no labels that '*' could stand for")
    return host


def _port(text: str, scheme: str, port: str | None) -> str:
    if port is None:
        return ""
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r}: the port must be a number from 1 to 65535")
    return "" if int(port) == _DEFAULT_PORTS[scheme] else f":{int(port)}"


class Origins:
    """The origins that an app allows."""

    def __init__(self, allowed: Iterable[str | Pattern]) -> None:
        """:param allowed: From :func:`normal_origin`, or regular expressions that must match a whole origin."""
        allowed = tuple(allowed)
        texts = {origin for origin in allowed if isinstance(origin, str)}
        self.are_any = ANY in texts
        self._exact = frozenset(text for text in texts if "*" not in text)
        self._patterns = (
            *(_expression(text) for text in sorted(texts) if "*." in text),
            *(origin for origin in allowed if not isinstance(origin, str)),
        )

    def allow(self, origin: str) -> bool:
        """Whether pages of this origin are allowed. ``null`` is, only if it is listed or all are."""
        if self.are_any or origin in self._exact:
            return True
        return "://" in origin and any(pattern.fullmatch(origin) for pattern in self._patterns)

    def why_unsafe(self) -> str | None:
        """Say why pages must not send cookies, because any site could become allowed, or return ``None``."""
        if self.are_any:
            return "browsers reject cookies with CORS_ORIGINS = '*'; list the origins instead"
        if OPAQUE in self._exact:
            return "any site can send 'null' from a sandboxed frame, so remove it from CORS_ORIGINS"
        if self.allow(_ANYWHERE):
            return f"a pattern in CORS_ORIGINS matches any site, even {_ANYWHERE}; make it narrower"
        return None


def _expression(pattern: str) -> Pattern:
    """Return the regular expression for a pattern such as ``https://*.example.org``."""
    before, _, after = pattern.partition("*.")
    return re.compile(rf"{re.escape(before)}(?:{_LABEL}\.)+{re.escape(after)}")
