"""The parameters of objects that an app can choose, in the words of boto3."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote
from urllib.parse import urlencode

# What CreateMultipartUpload, PutObject and CopyObject have in common, without what the other requests would need, too.
_TEXTS = (
    "ACL",
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "GrantFullControl",
    "GrantRead",
    "GrantReadACP",
    "GrantWriteACP",
    "SSEKMSEncryptionContext",
    "SSEKMSKeyId",
    "ServerSideEncryption",
    "StorageClass",
    "WebsiteRedirectLocation",
)
_FLAGS = ("BucketKeyEnabled",)
_MAPPINGS = ("Metadata", "Tagging")
_KNOWN = (*_TEXTS, *_FLAGS, *_MAPPINGS)
_ENCRYPTION = ("BucketKeyEnabled", "SSEKMSEncryptionContext", "SSEKMSKeyId", "ServerSideEncryption")


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Check the names and the types of parameters. The store checks the values.

    :raises ValueError: A name is unknown, or a value has the wrong type.
    """
    for name, value in parameters.items():
        if name not in _KNOWN:
            near = get_close_matches(str(name), _KNOWN, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KNOWN)}."
            raise ValueError(f"{name!r} is not a parameter of objects; {advice}")
        if name in _FLAGS:
            is_right, wanted = isinstance(value, bool), "True or False"
        elif name in _TEXTS:
            is_right, wanted = isinstance(value, str) and value != "" and value.isprintable(), "a string"
        else:
            is_right, wanted = _is_text_mapping(value), "a dict of strings"
            if name == "Tagging" and isinstance(value, str):
                is_right = value != ""
        if not is_right:
            raise ValueError(f"{name!r} must be {wanted}, not {value!r}")


def _is_text_mapping(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(isinstance(key, str) and key and isinstance(item, str) for key, item in value.items())


def for_objects(*levels: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments for boto3. Later levels override earlier ones; their metadata are combined."""
    said: dict[str, Any] = {}
    kept: dict[str, str] = {}
    for level in levels:
        said |= level
        kept |= {name.lower(): value for name, value in level.get("Metadata", {}).items()}
    if isinstance(said.get("Tagging"), Mapping):
        said["Tagging"] = urlencode(said["Tagging"], quote_via=quote)
    said["Metadata"] = {name: _ascii(value) for name, value in {**kept, **metadata}.items()}
    return said


def for_helpers(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for the extension's own objects: those that a bucket's policy may require of every object.

    Nobody is given access to them.
    """
    said = {name: value for name, value in parameters.items() if name in _ENCRYPTION}
    if parameters.get("ACL") == "bucket-owner-full-control":
        said["ACL"] = parameters["ACL"]
    return said


def _ascii(value: str) -> str:
    """Return a value that a header can have. S3 itself encodes others in this way, as RFC 2047 says."""
    if value.isascii() and value.isprintable():
        return value
    return f"=?UTF-8?B?{b64encode(value.encode('utf-8', 'replace')).decode()}?="
