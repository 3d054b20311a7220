"""How settings are declared, and how they are read from ``app.config``.

They are read once, and all problems are reported together. A *section* is a dataclass whose fields are made by
:func:`setting`. Each protocol has a section; the app's own sections are in ``app.py`` and ``storage.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import Field
from dataclasses import field
from dataclasses import fields
from datetime import timedelta
from typing import Any

from ..core.origins import Origins
from ..core.upload import Limits
from ..errors import ConfigurationError
from . import checks
from .unknown import unknown_keys

COMMON = "RESUMABLE_"  # the prefix that works for every setting; a protocol's own, such as TUS_X, overrides RESUMABLE_X


def setting(
    check: Callable[[Any], Any],
    default: Any,
    meaning: str,
    *,
    is_secret: bool = False,
    is_common: bool = True,
    alias: str | None = None,
    otherwise: str | None = None,
    resolve: Callable[[Any, str], Any] | None = None,
) -> Any:
    """Declare a setting as a field of a section.

    :param check: Returns the value to use, or raises ``ValueError`` with what the value must be.
    :param meaning: One sentence for the page of settings.
    :param is_secret: Whether its value must never be shown.
    :param is_common: Whether ``RESUMABLE_X`` sets it, too. Use ``False`` where protocols cannot share a value.
    :param alias: Another name for the setting, in lower case.
    :param otherwise: The key of another setting whose value counts if this one is not set.
    :param resolve: Called with the checked value and the instance folder, which relative paths are relative to.
    """
    metadata = {
        "check": check,
        "meaning": meaning,
        "is_secret": is_secret,
        "is_common": is_common,
        "names": () if alias is None else (alias,),
        "otherwise": () if otherwise is None else (otherwise,),
        "resolve": resolve,
    }
    return field(default=default, repr=not is_secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolSettings:
    """The settings that every protocol has."""

    enabled: bool = setting(checks.flag, True, "Serve this protocol.", is_common=False)
    upload_url: str = setting(checks.url, "", "The URL path of this protocol.", is_common=False)
    public_url: str | None = setting(
        checks.public_url,
        None,
        'The URL at which clients reach the root of the app, such as `"https://uploads.example.org/api"`. All URLs of '
        "uploads then begin with it. By default, they depend on the request.",
    )
    public_path: str | None = setting(
        checks.public_path,
        None,
        "The path of this protocol below `PUBLIC_URL`, if a proxy renames it. By default, it is `UPLOAD_URL`.",
        is_common=False,
    )
    max_size: int | None = setting(
        checks.optional_size(0), None, "The maximum size of an upload, in bytes. `None` means no limit."
    )
    expiration: timedelta | None = setting(
        checks.expiration,
        timedelta(days=1),
        "How long to keep an unfinished upload, in seconds or as a `timedelta`. `None` means that it never expires.",
    )
    idle_timeout: timedelta = setting(
        checks.seconds,
        timedelta(seconds=60),
        "How long to wait for data before ending a request, in seconds or as a `timedelta`.",
    )
    cors_origins: tuple[str | re.Pattern[str], ...] = setting(
        checks.origins,
        (),
        'A list of origins whose pages may upload, such as `"https://example.org"` or `"https://*.example.org"`, or '
        '`"*"`. By default, only the app\'s own pages may.',
    )
    cors_credentials: bool = setting(checks.flag, False, "Let pages from those origins send cookies.")
    cors_headers: tuple[str, ...] = setting(
        checks.header_names,
        (),
        'A list of further request headers that those pages may send, such as `"X-API-Key"`, or `"*"` for any.',
    )
    cors_expose_headers: tuple[str, ...] = setting(
        checks.header_names,
        (),
        'A list of further response headers that those pages may read, such as `"X-Document"`, or `"*"` for all.',
    )
    cors_max_age: int = setting(
        checks.whole_seconds(2**31 - 1), 86400, "How long browsers may cache a preflight response, in seconds."
    )
    sliding_expiration: bool = setting(
        checks.flag,
        True,
        "Restart the expiration time whenever content arrives. Otherwise it counts from the creation of the upload.",
    )
    max_metadata: int = setting(
        checks.whole(0, 65535), 16 * 1024, "The maximum length of an upload's metadata, in characters."
    )

    require_signature: bool = setting(
        checks.flag, False, "Let only clients with a token from `sign()` create uploads. Needs a `SECRET_KEY`."
    )

    def mistakes(self, read_before: Sequence[Any]) -> list[str]:
        """List contradictions within this section, and with the sections that were read before it."""
        found = []
        unsafe = Origins(self.cors_origins).why_unsafe() if self.cors_credentials else None
        if unsafe is not None:
            found.append(f"CORS_CREDENTIALS: {unsafe}")
        if self.public_path is not None and self.public_url is None:
            found.append("PUBLIC_PATH: is a path below PUBLIC_URL; set both")
        return found + self._taken_urls(read_before)

    def _taken_urls(self, read_before: Sequence[Any]) -> list[str]:
        """List the other protocols whose public URL is the same, although their URL in the app is not."""
        others = [section for section in read_before if isinstance(section, ProtocolSettings) and section.enabled]
        is_taken = self.enabled and any(
            self.endpoint is not None and other.endpoint == self.endpoint and other.upload_url != self.upload_url
            for other in others
        )
        return [f"PUBLIC_PATH: two protocols have the public URL {self.endpoint}; set another one"] if is_taken else []

    @property
    def endpoint(self) -> str | None:
        """The URL of this protocol that ``PUBLIC_URL`` sets, with a slash at the end, or ``None``."""
        return None if self.public_url is None else self.public_url + (self.public_path or self.upload_url)

    def limits(self) -> Limits:
        """Return the limits for uploads through this protocol."""
        return Limits(
            max_size=self.max_size,
            expiration=self.expiration,
            sliding=self.sliding_expiration,
            requires_token=self.require_signature,
        )


@dataclass(frozen=True, slots=True)
class Section:
    """A dataclass of settings, and the prefixes it is looked up under besides ``RESUMABLE_``.

    :param root: The instance folder, which relative paths are relative to.
    """

    kind: type[Any]
    root: str
    prefixes: tuple[str, ...] = ()


def read_settings(config: Mapping[str, Any], sections: Sequence[Section]) -> list[Any]:
    """Read and check the sections, and return an instance of each.

    :raises ConfigurationError: Something is wrong; the message lists every problem.
    """
    mistakes: list[str] = []
    found: list[Any] = []
    for section in sections:
        values, wrong = _read(section, config)
        mistakes += wrong
        # Defaults stand in for wrong values, so that the other values can still be checked against each other.
        instance = section.kind(**values)
        mistakes += instance.mistakes(found)
        found.append(instance)
    prefixes = {COMMON, *(prefix for section in sections for prefix in section.prefixes)}
    known = {key for section in sections for item in fields(section.kind) for key in _keys(section, item)}
    foreign = [key for instance in found for key in getattr(instance, "foreign_keys", ())]
    mistakes = unknown_keys(config, known, prefixes, foreign) + mistakes
    if mistakes:
        raise ConfigurationError("Invalid Flask-Resumable settings:\n  " + "\n  ".join(dict.fromkeys(mistakes)))
    return found


def _read(section: Section, config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    for item in fields(section.kind):
        values[item.name] = item.default
        key = next((key for key in _keys(section, item) if key in config), None)
        if key is not None:
            try:
                values[item.name] = item.metadata["check"](config[key])
            except (TypeError, ValueError) as error:
                shown = "..." if item.metadata["is_secret"] else repr(config[key])
                mistakes.append(f"{key} = {shown}: must be {error}")
        resolve = item.metadata["resolve"]
        if resolve is not None and values[item.name] is not None:
            values[item.name] = resolve(values[item.name], section.root)
    return values, mistakes


def _keys(section: Section, item: Field[Any]) -> list[str]:
    """List the keys that set a field. The first one found in the config wins."""
    prefixes = [*section.prefixes, *([COMMON] if item.metadata["is_common"] else [])]
    own = [prefix + name.upper() for prefix in prefixes for name in (item.name, *item.metadata["names"])]
    return [*own, *item.metadata["otherwise"]]
