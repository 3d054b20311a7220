"""The plug for tus."""

from __future__ import annotations

from ...interfaces import Storage
from ...service.uploads import UploadService
from ...settings.app import Settings
from ..blueprint import METHODS
from ..cors import cors_policy
from ..plug import Dialect
from ..plug import Plug
from . import views
from .messages import EXTENSIONS
from .messages import Policy
from .messages import REQUEST_HEADERS
from .messages import RESPONSE_HEADERS
from .settings import TusSettings


def _serve(settings: TusSettings, service: UploadService) -> Dialect:
    server = views.TusServer(settings, _policy(settings, service.storage), settings.limits())
    return Dialect(
        name=views.NAME,
        url=settings.upload_url,
        endpoint=settings.endpoint,
        server=server,
        rules=views.rules_below(settings.upload_url),
        on_error=views.on_error,
        on_http_error=views.on_http_error,
        on_lost=views.on_lost,
        finish=views.finish,
        cors=cors_policy(
            settings,
            methods=METHODS,
            request_headers=REQUEST_HEADERS,
            response_headers=RESPONSE_HEADERS,
        ),
    )


def _policy(settings: TusSettings, storage: Storage) -> Policy:
    offered = set(EXTENSIONS) - set(settings.disabled_extensions)
    if storage.capabilities.concatenation is None or settings.require_signature:  # a token is for one upload
        offered -= {"concatenation", "concatenation-unfinished"}
    if settings.expiration is None and "concatenation" not in offered:
        offered -= {"expiration"}  # with concatenation, partial uploads expire anyway
    return Policy(
        extensions=frozenset(offered),
        max_size=settings.max_size,
        max_metadata=settings.max_metadata,
        require_checksum=settings.require_checksum,
        strict_head=settings.strict_head,
    )


TUS = Plug(name=views.NAME, prefix="TUS_", settings=TusSettings, serve=_serve, also_sets=frozenset({Settings}))
