"""Which pages an app allows: origins, patterns and regular expressions."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flask_resumable.core.origins import normal_origin
from flask_resumable.core.origins import Origins
from flask_resumable.settings.checks import origins

LONGEST = ".".join(["b" * 61] + ["b" * 63] * 3)  # host name, with 253 characters


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://example.org", "https://example.org"),
        ("HTTPS://App.Example.ORG", "https://app.example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:80", "http://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("https://example.org:0443", "https://example.org"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://my_box:8080", "http://my_box:8080"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]"),
        ("http://example.org:1", "http://example.org:1"),
        ("http://example.org:65535", "http://example.org:65535"),
        (f"https://{LONGEST}", f"https://{LONGEST}"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("Chrome-Extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("safari-web-extension://E4CB8C1C-AB", "safari-web-extension://E4CB8C1C-AB"),
        ("null", "null"),
    ],
)
def test_an_origin_is_compared_as_browsers_send_it(written: str, sent: str) -> None:
    """Case, default ports and addresses may be written in any way."""
    assert normal_origin(written) == sent
    assert Origins(origins(written)).allow(sent)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("https://example.org/", "final '/'"),
        ("https://example.org/path", "only scheme, host and port"),
        ("https://example.org?a=1", "only scheme, host and port"),
        ("https://example.org#top", "only scheme, host and port"),
        ("https://https://example.org", "only scheme, host and port"),
        ("https://me@example.org", "only scheme, host and port"),
        ("https://me:secret@example.org", "only scheme, host and port"),
        ("example.org", "write 'https://example.org'"),
        ("//example.org", "no scheme"),
        ("*.example.org", "no scheme"),
        ("localhost:5173", "no scheme"),
        ("NULL", "no scheme"),
        ("https://", "no valid host"),
        ("://example.org", "not an origin"),
        ("*://example.org", "not an origin"),
        ("https://*", "at the start of the host"),
        ("https://*.", "no valid host"),
        ("https://app-*.example.org", "whole labels"),
        ("https://*example.org", "whole labels"),
        ("https://a.*.example.org", "whole labels"),
        ("https://*.*.example.org", "whole labels"),
        ("https://example.*", "whole labels"),
        ("https://*.10.0.0.1", "addresses have no labels"),
        ("https://exa mple.org", "spaces"),
        (" https://example.org", "spaces"),
        ("https://example.org\n", "spaces"),
        ("https://a.example https://b.example", "spaces"),
        ("https://a.example,https://b.example", "spaces"),
        ("", "no scheme"),
        ("https://-example.org", "no valid host"),
        ("https://example..org", "no valid host"),
        ("https://example.org.", "no valid host"),
        ("https://" + "a" * 64 + ".org", "no valid host"),
        (f"https://a{LONGEST}", "no valid host"),
        ("https://ex%61mple.org", "no valid host"),
        ("https://bücher.example", "xn--"),
        ("http://1.2.3", "no valid IPv4"),
        ("http://127.0.0.256", "no valid IPv4"),
        ("http://127.0.0.0x1", "no valid IPv4"),
        ("http://[::1", "not an origin"),
        ("http://[::g]", "no valid IPv6"),
        ("http://[fe80::1%eth0]", "no valid IPv6"),
        ("https://example.org:", "the port must be"),
        ("https://example.org:*", "the port must be"),
        ("https://example.org:65536", "the port must be"),
        ("https://example.org:0", "the port must be"),
        ("https://example.org:+443", "the port must be"),
        ("capacitor://", "not an origin"),
        ("capacitor://*", "not an origin"),
        ("capacitor://bücher", "not an origin"),
        ("file://", "'null'"),
        ("file:///home/me", "only scheme, host and port"),
        (r"https://.*\.example\.org", "re.compile"),
        ("^https://example.org$", "re.compile"),
        ("https://(a|b).example.org", "re.compile"),
    ],
)
def test_what_can_never_match_is_refused_with_the_reason(written: str, reason: str) -> None:
    """No browser would send it, so the app's developer should know."""
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        origins(["https://right.example", written])
    assert repr(written) in str(caught.value)


@pytest.mark.parametrize("value", [5, None, [5], b"https://example.org", [b"*"], [re.compile(b".")], {"a": 1}.items()])
def test_only_texts_and_patterns_are_origins(value: Any) -> None:
    """A wrong type is refused like a wrong text."""
    with pytest.raises(ValueError, match="a list of origins"):
        origins(value)


PATTERN = "https://*.Example.org"


@pytest.mark.parametrize("origin", ["https://a.example.org", "https://a.b.example.org", "https://x-1.example.org"])
def test_a_pattern_allows_subdomains(origin: str) -> None:
    """The star is one or more whole labels."""
    assert Origins(origins(PATTERN)).allow(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.org",
        "https://.example.org",
        "https://evilexample.org",
        "https://a.evilexample.org",
        "https://a.example.org.evil.com",
        "https://evil.com/a.example.org",
        "https://evil.com/.example.org",
        "https://evil.com#.example.org",
        "https://evil.com?.example.org",
        "https://evil.com\\.example.org",
        "https://evil.com@a.example.org",
        "https://a.example.org@evil.com",
        "https://evil.com:443.example.org",
        "https://a.example.org:8443",
        "https://a.example.org:443",
        "https://a.example.org/",
        "https://a.example.org.",
        "https://a..example.org",
        "https://-.example.org",
        "https://a.exampleXorg",
        "https://a.example.org\n",
        "https://a.example.org https://b.example.org",
        "http://a.example.org",
        "https://*.example.org",
        "xhttps://a.example.org",
        "null",
        "",
        "*",
    ],
)
def test_a_pattern_allows_nothing_else(origin: str) -> None:
    """Neither the domain itself, nor another scheme or port, nor what only looks like a subdomain."""
    assert not Origins(origins(PATTERN)).allow(origin)


def test_a_pattern_may_have_a_port() -> None:
    """Only that port is allowed then, and the default port may be written."""
    allowed = Origins(origins(["http://*.localhost:5173", "https://*.example.org:443"]))
    assert allowed.allow("http://shop.localhost:5173")
    assert not allowed.allow("http://shop.localhost:5174")
    assert not allowed.allow("http://shop.localhost")
    assert allowed.allow("https://a.example.org")


@pytest.mark.parametrize("value", [re.compile(r"https://(www|app)\.example\.org"), [re.compile("HTTPS://APP.*", re.I)]])
def test_a_regular_expression_must_match_the_whole_origin(value: Any) -> None:
    """It need not have anchors."""
    allowed = Origins(origins(value))
    assert allowed.allow("https://app.example.org")
    assert not allowed.allow("https://evil.example?https://app.example.org")
    assert not Origins(origins(re.compile("https://app"))).allow("https://app.example.org")


def test_null_must_be_listed() -> None:
    """No pattern matches it, because pages of any site can have this origin."""
    assert not Origins(origins(re.compile(".*"))).allow("null")
    assert not Origins(origins(["https://example.org"])).allow("null")
    assert Origins(origins(["https://example.org", "null"])).allow("null")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("*", "browsers reject cookies with CORS_ORIGINS = '*'"),
        (["null"], "any site can send 'null'"),
        (re.compile(".*"), "a pattern in CORS_ORIGINS matches any site"),
        ([PATTERN], None),
    ],
)
def test_some_origins_are_unsafe_with_cookies(value: Any, reason: str | None) -> None:
    """Those that any site can have."""
    found = Origins(origins(value)).why_unsafe()
    assert found is None if reason is None else str(found).startswith(reason)
