"""Signs the tokens with which a client may create one upload, and verifies them.

They are signed with the app's ``SECRET_KEY``, like its sessions, but with a salt of their own, so that nothing else
that the app signs can be taken for a token. The keys are read each time, because apps may set and rotate them later.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from itsdangerous import BadData
from itsdangerous import URLSafeSerializer

from .core.grant import Grant
from .core.grant import HEADER
from .core.grant import PARAMETER
from .core.metadata import UploadMetadata
from .core.owner import owner_of
from .core.upload import MAX_LENGTH
from .errors import ConfigurationError
from .errors import TokenRefused

MAX_TOKEN = 4096  # in characters; servers and proxies refuse longer headers and URLs
_METHOD = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
_SALT = "flask-resumable.upload-token"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and verifies the tokens of an app.

    :param config: The configuration of the app, with ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``.
    """

    config: Mapping[str, Any]

    def sign(
        self,
        *,
        owner: object,
        max_size: int | None,
        length: int | None,
        metadata: Mapping[str, str],
        expires_at: datetime,
    ) -> str:
        """Return a new token. See :meth:`flask_resumable.FlaskResumable.sign`."""
        if not self.config.get("SECRET_KEY"):
            raise ConfigurationError("sign() needs a secret key: set SECRET_KEY in app.config.")
        for name, size in {"max_size": max_size, "length": length}.items():
            if size is not None and (
                isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_LENGTH
            ):
                raise ValueError(f"{name}={size!r}: must be an integer from 0 to {MAX_LENGTH}, or None.")
        if max_size is not None and length is not None and length > max_size:
            raise ValueError(f"length={length} exceeds max_size={max_size}.")
        if wrong := [key for key, value in metadata.items() if not key or not isinstance(value, str)]:
            raise ValueError(f"metadata has values that are not text: {', '.join(map(repr, wrong))}.")
        UploadMetadata.from_header(UploadMetadata.from_values(metadata).raw)
        grant = Grant(
            nonce=secrets.token_urlsafe(16),
            expires_at=expires_at,
            owner=_checked(owner),
            max_size=max_size,
            length=length,
            metadata=metadata,
        )
        token = self._serializer().dumps(grant.to_payload())
        text = token if isinstance(token, str) else token.decode()
        if len(text) > MAX_TOKEN:
            raise ValueError(f"The token has {len(text)} characters, but at most {MAX_TOKEN} fit into a URL or header.")
        return text

    def read(self, token: str) -> Grant:
        """Return what a token allows, whether or not it has expired.

        :raises TokenRefused: The app has not signed it.
        """
        if not self.config.get("SECRET_KEY"):
            raise TokenRefused("This app has no secret key, so it cannot have signed this upload token.")
        try:
            return Grant.from_payload(self._serializer().loads(token))
        except (BadData, KeyError, TypeError, ValueError, AttributeError):
            raise TokenRefused(
                f"The upload token in {HEADER} or {PARAMETER} is damaged, or it was signed with another secret key."
            ) from None

    def _serializer(self) -> URLSafeSerializer:
        # The last key signs; the others only verify.
        keys = [*(self.config.get("SECRET_KEY_FALLBACKS") or ()), self.config["SECRET_KEY"]]
        return URLSafeSerializer(keys, salt=_SALT, signer_kwargs=_METHOD)


def _checked(owner: object) -> str | None:
    try:
        return owner_of(owner)
    except (TypeError, ValueError) as error:  # which say what is wrong with the result of current_owner()
        raise type(error)(str(error).replace("current_owner() returned a value", "owner is a value", 1)) from None
