"""What every role answers about itself: `/livez`, `/readyz`, `/metrics`. A plain ASGI app.

Nothing is computed until somebody asks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from event_router.consumers.health import Health
from event_router.router.readiness import Readiness

PATHS = ("/livez", "/readyz", "/metrics")
_JSON = "application/json"


def _unknown() -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class RoleHealth:
    """`lag` gives how many records the role has yet to finish, None while nobody knows."""

    health: Health
    metrics: CollectorRegistry
    lag: Callable[[], int | None] = _unknown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        if scope["path"] not in PATHS:
            return _json({"status": 404, "message": "not found"}, 404)
        if scope["method"] not in ("GET", "HEAD"):
            return _json({"status": 405, "message": "method not allowed"}, 405)
        match scope["path"]:
            case "/livez":
                return _json({"alive": True}, 200)
            case "/readyz":
                now = self.readiness()
                return _json(now, 200 if now.ready else 503)
            case _:
                return Response(generate_latest(self.metrics), media_type=CONTENT_TYPE_LATEST)

    def readiness(self) -> Readiness:
        troubles = {**self.health.troubles, **self.health.faults}
        return Readiness(self.health.ready, self.lag(), troubles, self.health.warnings)


def _json(answer: object, status: int) -> Response:
    return Response(msgspec.json.encode(answer), status, media_type=_JSON)
