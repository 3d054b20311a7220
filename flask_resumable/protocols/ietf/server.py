"""The plug for the IETF draft."""

from __future__ import annotations

from functools import partial

from ...service.uploads import UploadService
from ..plug import Dialect
from ..plug import Plug
from . import views
from .settings import IetfSettings


def _serve(settings: IetfSettings, service: UploadService) -> Dialect:
    server = views.IetfServer(settings, settings.policy(), settings.limits())
    return Dialect(
        name=views.NAME,
        url=settings.upload_url,
        endpoint=settings.endpoint,
        server=server,
        rules=views.rules_below(settings.upload_url),
        on_error=views.on_error,
        on_http_error=views.on_http_error,
        on_lost=views.on_lost,
        finish=partial(views.finish, settings),
        speaks=views.speaks,
        complement=partial(views.complement, server),
    )


IETF = Plug(name=views.NAME, prefix="IETF_", settings=IetfSettings, serve=_serve)
