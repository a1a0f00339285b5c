"""The app: routes by noun, and around them who may call, how large a body is, how errors read."""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from event_router.router.api.answers import REF, DestinationAnswer, Success, TenantAnswer
from event_router.router.api.attempts import AttemptsAnswer, attempt_routes
from event_router.router.api.auth import Authorized, Callers
from event_router.router.api.bodies import BoundedBodies
from event_router.router.api.dead import DeadListAnswer, DeadRecordAnswer, dead_routes
from event_router.router.api.destination_types import TypeAnswer, destination_type_routes
from event_router.router.api.destinations import destination_routes
from event_router.router.api.docs_page import add_docs_page
from event_router.router.api.errors import ErrorBody, answer_errors_as_json
from event_router.router.api.events import EventsAnswer, event_routes
from event_router.router.api.fiddler import PREFIXES as FIDDLER
from event_router.router.api.fiddler import Fiddler
from event_router.router.api.health import HealthAnswer, health_routes
from event_router.router.api.jobs import JobAnswer, JobsAnswer, job_routes
from event_router.router.api.metrics import MetricsAnswer, metrics_routes
from event_router.router.api.portal import portal_routes
from event_router.router.api.publish import PATH, PublishEndpoint, publish_operation
from event_router.router.api.rate_limits import TenantRates
from event_router.router.api.retry import retry_routes
from event_router.router.api.schemas import (
    SchemaAnswer,
    SchemasAnswer,
    ViolationsAnswer,
    schema_routes,
)
from event_router.router.api.services import Services
from event_router.router.api.tenant_access import PortalAnswer, TokenAnswer, token_routes
from event_router.router.api.tenants import TenantsAnswer, tenant_routes
from event_router.router.api.tokens import TenantTokens
from event_router.router.api.topics import topic_routes
from event_router.router.hops.publish import PublishBody, Published
from event_router.router.hops.replay import Replayed
from event_router.router.role_health import PATHS

PREFIX = "/api/v1"
_ROUTES = (
    tenant_routes,
    destination_routes,
    destination_type_routes,
    topic_routes,
    event_routes,
    attempt_routes,
    retry_routes,
    metrics_routes,
    dead_routes,
    schema_routes,
    job_routes,
)
_BODY_LIMIT = 256 * 1024
_ANSWERS = (
    ErrorBody,
    HealthAnswer,
    DestinationAnswer,
    TypeAnswer,
    TenantAnswer,
    TenantsAnswer,
    TokenAnswer,
    PortalAnswer,
    EventsAnswer,
    AttemptsAnswer,
    MetricsAnswer,
    DeadListAnswer,
    DeadRecordAnswer,
    JobAnswer,
    JobsAnswer,
    SchemaAnswer,
    SchemasAnswer,
    ViolationsAnswer,
    Replayed,
    PublishBody,
    Published,
    Success,
)


class Api(FastAPI):
    """FastAPI, with publish past it: its layers cost as much as the hop. They still have the
    route, for other methods and for an app that is mounted somewhere."""

    def __init__(self, publish: ASGIApp, fiddler: ASGIApp, **more: Any) -> None:
        super().__init__(**more)
        self._publish = publish
        self._fiddler = fiddler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            await self._publish(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(FIDDLER):
            await self._fiddler(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = _completed(super().openapi())
        return self.openapi_schema


def create_app(services: Services) -> Api:
    """Everything that the API answers. It opens and closes nothing: `services` are ready."""
    settings = services.settings
    tokens = TenantTokens(settings.jwt_secret.get_secret_value(), services.clock)
    rates = TenantRates(settings.api_rate_limit, services.clock)
    callers = Callers(settings.api_key.get_secret_value(), tokens, services.registry, rates)
    publish = PublishEndpoint(services, callers, rates)
    app = Api(
        publish,
        Fiddler(services, callers),
        title="Event Router",
        version="1",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
    )
    answer_errors_as_json(app)
    add_docs_page(app)
    app.router.routes.insert(0, Route(PATH, publish, methods=["POST"]))
    for path in PATHS:
        app.router.routes.append(Route(path, services.health))
    for routes_of in _ROUTES:
        app.include_router(routes_of(services), prefix=PREFIX)
    app.include_router(token_routes(services, tokens), prefix=PREFIX)
    app.include_router(portal_routes(services, callers))
    app.include_router(health_routes(services))
    app.add_middleware(BoundedBodies, limit=_BODY_LIMIT, except_path=PATH)
    app.add_middleware(Authorized, callers=callers)
    return app


def _operation_id(route: APIRoute) -> str:
    return "_".join((*map(str, route.tags), route.name))


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components(_ANSWERS, ref_template=REF)
    document["components"]["schemas"].update(components)
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    document["paths"][PATH] = {"post": publish_operation()}
    return document
