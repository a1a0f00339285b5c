"""Events for whoever operates the router: how they look, and where they go.

They are events like others, of a tenant that is nobody's, whose one destination is the settings':
so they are routed, retried, given up and logged as everything else.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from event_router.consumers.ports import Directory, TenantView
from event_router.router.decisions.alerts import SUBSCRIPTION, Alert, AlertPolicy
from event_router.router.settings import Settings
from event_router.schemas.attempt import AttemptHead
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.destination import Destination
from event_router.schemas.errors import InvalidValue
from event_router.schemas.record import Message
from event_router.schemas.topics import Topics

OPERATOR = "router:operator"
"""The tenant. What the registry may hold under this name counts for nothing."""

SOURCE = "/router"
BODY_SHOWN = 1024
METADATA_SHOWN = 2048


def unreserved(field: str, tenant: str) -> str:
    """`tenant`, when people may have one of that id; else InvalidValue."""
    if tenant == OPERATOR:
        raise InvalidValue(field, tenant, "for tenants: it is reserved for operator events")
    return tenant


def operator_destination(settings: Settings) -> Destination | None:
    """Where operator events go; None when nobody wants them."""
    if not settings.operator_events_url:
        return None
    return Destination(
        tenant=OPERATOR,
        id="operator-events",
        type="webhook",
        topics=settings.operator_events_topics,
        config={"url": settings.operator_events_url},
        credentials={"secret": settings.operator_events_secret.get_secret_value()},
        version="settings",
        created_at=0,
        updated_at=0,
    )


def alert_policy(settings: Settings) -> AlertPolicy:
    wanted = settings.operator_events_topics if settings.operator_events_url else ()
    return AlertPolicy(
        frozenset(wanted),
        settings.alert_after,
        settings.auto_disable_after,
        settings.alert_exhausted_window,
    )


@dataclass(frozen=True, slots=True)
class WithOperator:
    """A Directory in which OPERATOR has this one destination, or none."""

    directory: Directory
    operator: Destination | None

    async def views(self, tenants: Collection[str]) -> Mapping[str, TenantView]:
        if OPERATOR not in tenants:
            return await self.directory.views(tenants)
        views = dict(await self.directory.views([one for one in tenants if one != OPERATOR]))
        own = {self.operator.id: self.operator} if self.operator else {}
        views[OPERATOR] = TenantView(OPERATOR, own)
        return views


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an operator event. `deployment_id` is the namespace."""

    id: str
    topic: str
    time: str
    data: dict[str, Any]
    tenant_id: str | None = None
    deployment_id: str | None = None


def alert_message(alert: Alert, topics: Topics) -> Message:
    """The record for `events`. Payloads of tenants aren't in it."""
    tenant = alert.attempt.delivery.tenant
    return _message(alert.id, alert.topic, alert.at, tenant, _data(alert), topics)


def subscription_message(
    own_id: str, tenant: str, told: dict[str, Any], at: int, topics: Topics
) -> Message:
    """The record for `events` of how the tenant's subscription stands, `at` in ms."""
    return _message(own_id, SUBSCRIPTION, at, tenant, told, topics)


def _message(
    own_id: str, topic: str, at: int, tenant: str, data: dict[str, Any], topics: Topics
) -> Message:
    envelope = Envelope(
        id=own_id,
        topic=topic,
        time=_time(at),
        data=data,
        tenant_id=tenant,
        deployment_id=topics.namespace or None,
    )
    event = NewEvent(
        tenant=OPERATOR,
        id=own_id,
        source=SOURCE,
        topic=topic,
        time=envelope.time,
        data=msgspec.json.encode(envelope),
        generated_id=True,
    )
    return event_message(event, topics.events)


def _data(alert: Alert) -> dict[str, Any]:
    attempt = alert.attempt
    delivery = attempt.delivery
    return {
        "tenant_id": delivery.tenant,
        "event": {
            "id": delivery.event,
            "topic": delivery.topic,
            "time": delivery.time,
            "metadata": _bounded(delivery.metadata),
        },
        "attempt": _attempt(attempt),
        "destination": {
            "id": delivery.destination,
            "tenant_id": delivery.tenant,
            "type": attempt.destination_type,
        },
        **alert.details,
    }


def _bounded(metadata: dict[str, str]) -> dict[str, str]:
    """None of it when it is long: an alert must fit where the event itself just fitted."""
    length = sum(len(name) + len(value) for name, value in metadata.items())
    return metadata if length <= METADATA_SHOWN else {}


def _attempt(attempt: AttemptHead) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "time": _time(attempt.started),
        "status": "success" if attempt.outcome == "delivered" else "failed",
        "code": attempt.code,
        "attempt_number": attempt.delivery.attempt,
        "manual": attempt.delivery.manual,
        "latency_ms": round(attempt.latency),
        "response_data": {"status": attempt.status, "body": attempt.body[:BODY_SHOWN]},
    }


def _time(ms: int) -> str:
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
