"""How the API is, as Outpost's clients ask: `/healthz`. The rest every role has."""

from typing import Any, Literal

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from event_router.router.api.answers import content, json_response
from event_router.router.api.services import Services
from event_router.schemas.decode import rfc3339

State = Literal["healthy", "degraded"]


class Worker(msgspec.Struct, omit_defaults=True):
    """One dependency, and what to do when it doesn't work."""

    status: State
    reason: str | None = None


class HealthAnswer(msgspec.Struct):
    """The API's health, and that of what it stands on. `warnings` are of what doesn't work while
    the API does."""

    status: State
    timestamp: str
    workers: dict[str, Worker]
    warnings: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


def health_routes(services: Services) -> APIRouter:
    routes = APIRouter(tags=["health"])
    answers: dict[int | str, dict[str, Any]] = {
        200: content(HealthAnswer, "healthy"),
        503: content(HealthAnswer, "degraded"),
    }

    @routes.get("/api/v1/healthz", responses=answers)
    @routes.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        """200 when all is well, else 503 with what isn't, and what to do."""
        now = services.health.readiness()
        state: State = "healthy" if now.ready else "degraded"
        troubles = {name: Worker("degraded", what) for name, what in now.troubles.items()}
        answer = HealthAnswer(
            state,
            rfc3339(services.clock()),
            {"api": Worker(state), **troubles},
            now.warnings or msgspec.UNSET,
        )
        return json_response(answer, 200 if now.ready else 503)

    return routes
