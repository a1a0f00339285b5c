"""`POST /retry`: one more attempt, now."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.answers import Success, documented, json_response
from event_router.router.api.auth import own_one
from event_router.router.api.errors import Refusal, not_found
from event_router.router.api.events import existing_event
from event_router.router.api.queries import Text
from event_router.router.api.services import Services
from event_router.router.hops.manual_retry import ManualRetry
from event_router.router.store.log_ports import LoggedDelivery, LoggedEvent
from event_router.schemas.delivery import DestinationKey


class RetryBody(BaseModel):
    """Which event to which destination; `tenant_id` where several tenants use the same ids."""

    model_config = ConfigDict(extra="forbid")

    event_id: Text
    destination_id: Text
    tenant_id: Text | None = None


class Retry:
    """Retries that people ask for."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._retry = ManualRetry(services.topics, services.producer, services.clock)

    async def create(self, request: Request, body: RetryBody) -> Response:
        """A round of its own with one attempt, whatever became of the delivery so far."""
        tenant = own_one(request, body.tenant_id)
        event = await existing_event(self._services.log, body.event_id, tenant)
        await self._retry(await self._deliverable(event, body.destination_id))
        return json_response(Success(), 202)

    async def _deliverable(self, event: LoggedEvent, destination_id: str) -> LoggedDelivery:
        """The delivery's newest round; raises Refusal."""
        key = DestinationKey(event.tenant, destination_id)
        destination = await self._services.registry.destination(key)
        if destination is None:
            raise not_found("destination")
        if destination.disabled_at is not None:
            raise Refusal(400, "Destination is disabled", {"error": "destination_disabled"})
        last = await self._services.log.last_delivery(event, destination.id)
        if last is None:
            raise Refusal(400, "destination does not match event")
        return last


def retry_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/retry", tags=["retry"])
    answers = documented(202, Success, 400, 404, 409, 413)
    routes.post("", status_code=202, responses=answers)(Retry(services).create)
    return routes
