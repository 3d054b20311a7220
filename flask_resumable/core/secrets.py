"""Recognizes passwords, tokens and signatures by their names, so that they are not kept with an upload."""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")  # accessToken, APIKey, X-Auth-Token, user[password]

# Words that make a name secret, also where names run words together, as in "authtoken" or "PHPSESSID".
_ANYWHERE = re.compile(
    "token|passw|passphrase|passcode|pwd|secret(?!ar)|csrf|xsrf|jwt|bearer|cookie|credential|signature|authori[sz]ation"
    "|nonce|apikey|(access|auth|private|session|signing|encryption|master|account|storage|license|subscription)key|sess(ion)?id"
)
# Words that are too short, or too common within others, to be looked for anywhere.
_WHOLE_WORDS = frozenset("auth oauth otp totp mfa pw sas sid sig hmac".split())
_WHOLE_NAMES = frozenset("key pass pin session".split())
_VALUE = re.compile(r"(?i:bearer) +[\w.~+/=-]{16,}\Z|eyJ[\w-]+\.[\w-]+\.[\w.-]*\Z")  # the latter: a JSON Web Token


def is_secret(name: str, value: str) -> bool:
    """Whether a parameter looks like something that gives access: by its name, in any style, or by its value.

    ::

        is_secret("X-Auth-Token", "...")  # True
        is_secret("album", "holiday")  # False
    """
    return _is_secret_name(name) or _VALUE.match(value) is not None


@lru_cache(256)  # the chunks of a client have the same parameters
def _is_secret_name(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    together = "".join(words)
    return _ANYWHERE.search(together) is not None or together in _WHOLE_NAMES or not _WHOLE_WORDS.isdisjoint(words)
