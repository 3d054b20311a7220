"""The plug for the IETF draft."""

from __future__ import annotations

from functools import partial

from ...service.uploads import UploadService
from ..cors import cors_policy
from ..plug import Dialect
from ..plug import Plug
from . import messages
from . import views
from .settings import IetfSettings


def _serve(settings: IetfSettings, service: UploadService) -> Dialect:
    server = views.IetfServer(settings, settings.policy(), settings.limits())
    cors = cors_policy(
        settings,
        methods=messages.METHODS,
        request_headers=messages.REQUEST_HEADERS,
        response_headers=messages.RESPONSE_HEADERS,
    )
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
        cors=cors,
        speaks=views.speaks,
        complement=partial(views.complement, server, cors),
    )


IETF = Plug(name=views.NAME, prefix="IETF_", settings=IetfSettings, serve=_serve)
