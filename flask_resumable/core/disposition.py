"""What a browser is told about a file: its type, its name, and whether to show it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from urllib.parse import quote

from .upload import Upload

DEFAULT_TYPE = "application/octet-stream"
INLINE_TYPES = (
    "application/pdf",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "image/avif",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/plain",
    "video/mp4",
    "video/ogg",
    "video/webm",
)
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
# Types that can run scripts, or that browsers replace by what the content looks like.
_ACTIVE = re.compile(
    r".*/(.*[+.-])?(x?html|svg|xml|xsl|xslt|mathml|ecmascript|javascript|jscript|livescript|x-shockwave-flash|wasm)([+;-].*)?"
    r"|.*script.*|(multipart|message|unknown)/.*|.*/(unknown|x-unknown)"
)
# What browsers show with a viewer or player of their own. It loads the file once more, without cookies if in a sandbox.
_VIEWED = re.compile(r"(image|audio|video)/.*|application/pdf|text/plain")
_POLICY = "default-src 'none'; sandbox"
_POLICY_OF_VIEWED = "default-src 'none'; img-src 'self'; media-src 'self'; object-src 'self'; style-src 'unsafe-inline'"
_MAX_NAME = 255  # characters
_MAX_EXTENSION = 32  # characters


def claimed_type(upload: Upload) -> str:
    """Return the media type that the client claims, in lower case and without parameters. It can be any text."""
    return (upload.metadata.filetype or "").partition(";")[0].strip().lower()


def object_type(upload: Upload, inline_types: Collection[str]) -> tuple[str, str]:
    """Return the type of an object that a store serves by itself, and ``"inline"`` or ``"attachment"``.

    A store sends no header that disarms scripts, so types that can run them are never named, even if the app shows
    them.
    """
    claimed = claimed_type(upload)
    if not _TYPE.fullmatch(claimed) or _ACTIVE.fullmatch(claimed):
        return DEFAULT_TYPE, "attachment"
    return claimed, "inline" if claimed in inline_types else "attachment"


def content_policy(content_type: str) -> str:
    """Return the ``Content-Security-Policy`` under which a browser opens a file.

    Whatever the file is, it must not run scripts in the app's origin.
    """
    is_viewed = _VIEWED.fullmatch(content_type) and not _ACTIVE.fullmatch(content_type)
    return _POLICY_OF_VIEWED if is_viewed else _POLICY


def download_name(upload: Upload) -> str:
    """Return the client's name for the file, without folders or characters that could end a header."""
    name = (upload.metadata.filename or "").replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(character for character in name if character.isprintable())
    if len(shown) > _MAX_NAME:  # keep what tells the type
        stem, dot, extension = shown.rpartition(".")
        extension = dot + extension if stem and len(extension) < _MAX_EXTENSION else ""
        shown = shown[: _MAX_NAME - len(extension)] + extension
    return shown if shown.strip(". ") else upload.id


def content_disposition(kind: str, name: str) -> str:
    """The value of ``Content-Disposition``: the name in ASCII, and the true one if that is another.

    Spec: RFC 6266, RFC 8187.

    :param kind: ``"attachment"`` or ``"inline"``.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = "".join(c if c.isprintable() and c not in '"\\%' else "_" for c in ascii_name)
    value = f'{kind}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
