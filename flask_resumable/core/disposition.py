"""The header by which a browser knows what to call a file."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote


def content_disposition(kind: str, name: str) -> str:
    """The value of ``Content-Disposition``: the name in ASCII, and the true one if that is another.

    Spec: RFC 6266, RFC 8187.

    :param kind: ``"attachment"`` or ``"inline"``.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = "".join(c if c.isprintable() and c not in '"\\%' else "_" for c in ascii_name)
    value = f'{kind}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
