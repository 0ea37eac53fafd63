"""The composition root: settings → platform → routers, sockets, documentation."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from fastapi_standalone_docs import StandaloneDocs
from starlette.types import Receive, Scope, Send

from app import services
from app.core.config import Settings, settings
from app.core.logging import configure_logging
from app.core.tasks import end
from app.edge import Edge
from app.kernel.event_schemas import event_webhooks
from app.kernel.platform import open_platform
from app.routers import (
    advertised_services,
    aliases,
    api_keys,
    auth,
    catalogue,
    chats,
    event_log,
    files,
    invoices,
    me,
    notifications,
    payments,
    payouts,
    problems,
    providers,
    role_applications,
    sandbox,
    service_requests,
    staff,
    system,
    teams,
    webhook_endpoints,
    work_orders,
)
from app.routers.directory import Directory
from app.schemas.base import ProblemDocument
from app.services.api_keys.checking import LiveKeys
from app.services.users.sessions import LiveSessions
from app.ws import endpoint, pages, stream
from app.ws.acknowledgements import Acknowledgements
from app.ws.hub import Hub
from app.ws.topics import Topics

DESCRIPTION = """One headless backend for a neighbourhood economy.

Times are UTC with an offset, money is integer minor units with a currency, ids are opaque UUIDs, lists take `limit` and
`cursor`. Refusals are RFC 9457 problem documents with a stable `code`. A POST that moves money or creates a subject
takes an `Idempotency-Key` and replays its first answer. Events arrive on the WebSocket `/ws/notifications/`.
"""

services.load_declarations()

_ROUTERS: Final = (
    service_requests,
    work_orders,
    chats,
    me,
    notifications,
    auth,
    files,
    catalogue,
    providers,
    role_applications,
    advertised_services,
    teams,
    payments,
    payouts,
    invoices,
    event_log,
    webhook_endpoints,
    api_keys,
    staff,
    system,
    aliases,
    sandbox,
    stream,
)


class _Application(FastAPI):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sockets pass all layers by: each would hold its frame for as long as they wait, which is hours."""
        if scope["type"] == "websocket" and scope["path"] == endpoint.PATH:
            scope["app"] = self
            return await endpoint.serve(scope, receive, send)
        await super().__call__(scope, receive, send)


def create_app(configured: Settings | None = None) -> FastAPI:
    """The application, ready to be served; it connects when it starts."""
    configure_logging()
    app = _Application(
        title="LocalBazaar",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=_lifespan,
        swagger_ui_parameters={"persistAuthorization": True},
    )
    app.state.settings = configured or settings()
    app.router.routes.extend(pages.router.routes)  # below /docs, which the next line takes as a whole
    StandaloneDocs(app=app)
    problems.install(app)
    # Side by side instead of nested (`include_router`), which tries each noun's list twice.
    for module in _ROUTERS:
        for route in module.router.routes:
            if isinstance(route, APIRoute):
                route.operation_id = f"{module.__name__.rpartition('.')[2]}_{route.name}"
            app.router.routes.append(route)
    # It finds the routes that are in the list by now, before the list is asked.
    app.router.routes.insert(0, Directory(app.router.routes))
    _document_problems(app)
    app.add_middleware(Edge, settings=app.state.settings)
    if app.state.settings.allowed_origins:
        # No credentials: who may act is said by the bearer token, which no browser sends by itself.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=app.state.settings.allowed_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
            expose_headers=["Retry-After"],
            max_age=600,
        )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with open_platform(app.state.settings) as platform:
        sessions = LiveSessions(platform)
        hub, topics, acknowledgements = Hub(platform, sessions), Topics(platform), Acknowledgements(platform)
        keys = LiveKeys(platform)
        app.state.platform, app.state.sessions, app.state.hub = platform, sessions, hub
        app.state.topics, app.state.acknowledgements, app.state.api_keys = topics, acknowledgements, keys
        for part in (hub, topics, acknowledgements):
            await part.start()
        kept_up = [asyncio.create_task(task) for task in (sessions.listen(), keys.listen(), keys.keep_noting_uses())]
        # What lives now lives for ever: collecting it again and again was most of the slowest requests' time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)
        try:
            yield
        finally:
            await end(*kept_up)
            for part in (hub, topics, acknowledgements):
                await part.stop()


def _document_problems(app: FastAPI) -> None:
    """Put the problem document in the place of FastAPI's own shape of a 422, and add what is sent to integrators."""
    generate = app.openapi

    def openapi() -> dict[str, object]:
        if app.openapi_schema is None:
            document = generate()
            schemas = document["components"]["schemas"]
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
            document["webhooks"] = event_webhooks()
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
