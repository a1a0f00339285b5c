"""The topics that events may have."""

from fastapi import APIRouter
from starlette.responses import Response

from event_router.router.api.answers import documented, json_response
from event_router.router.api.services import Services


def topic_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/topics", tags=["topics"])

    @routes.get("", responses=documented(200, list[str]))
    async def search() -> Response:
        """Those of ROUTER_TOPICS; empty when events may have any."""
        return json_response(services.settings.topics)

    return routes
