"""The plug of flow.js."""

from __future__ import annotations

from ...errors import ConfigurationError
from ...service.chunks import chunk_service
from ...service.client_keys import Keys
from ...service.uploads import UploadService
from ...settings.storage import ChunkSettings
from ..blueprint import METHODS
from ..cors import cors_policy
from ..plug import Dialect
from ..plug import Plug
from . import views
from .asker import FlowServer
from .asker import NAME
from .messages import FlowPolicy
from .settings import FlowSettings


def _serve(settings: FlowSettings, service: UploadService) -> Dialect:
    chunks = service.storage.capabilities.chunks
    if chunks is None:
        raise ConfigurationError(
            "This storage does not support chunks in any order, which flow.js needs: set FLOW_ENABLED = False."
        )
    keys = Keys(service)
    server = FlowServer(
        settings=settings,
        policy=FlowPolicy(
            max_size=settings.max_size,
            max_chunks=settings.max_chunks,
            max_chunk_size=settings.max_chunk_size,
            max_metadata=settings.max_metadata,
            identity_parameters=settings.identity_parameters,
            metadata_parameters=settings.metadata_parameters,
        ),
        limits=settings.limits(),
        keys=keys,
        chunks=chunk_service(service, keys, chunks),
        layout=chunks.layout,
    )
    return Dialect(
        name=NAME,
        url=settings.upload_url,
        endpoint=settings.endpoint,
        server=server,
        rules=views.rules(),
        on_error=views.on_error,
        on_http_error=views.on_http_error,
        on_lost=views.on_lost,
        finish=views.finish,
        cors=cors_policy(
            settings,
            methods=METHODS,
            request_headers=views.REQUEST_HEADERS,
            response_headers=views.RESPONSE_HEADERS,
        ),
    )


FLOW = Plug(
    name=NAME,
    prefix="FLOW_",
    settings=FlowSettings,
    serve=_serve,
    reserved=frozenset({"status"}),
    also_sets=frozenset({ChunkSettings}),
)
