"""What a program does that uses Outpost's Python SDK 1.7.0: every method but those of the managed
service. Run with a URL, a key and `sync` or `async`, in the SDK's own venv.

It prints what it was answered, as JSON.
"""

import asyncio
import json
import sys
import urllib.request
from datetime import UTC, datetime
from typing import Any

from outpost_sdk import (  # type: ignore[import-not-found]  # it has a virtual environment of its own
    Outpost,
    errors,
)

URL, KEY, MODE = sys.argv[1:]
MANAGED = {"configuration", "operator_events"}
AWS = {"key": "AKIA-a-long-key", "secret": "a-long-secret"}
HEX = "0123456789abcdef0123456789abcdef"
NAME = {"username": "somebody", "password": "a-long-password"}
SERVICE_BUS = "Endpoint=sb://x.example.com/;SharedAccessKeyName=a;SharedAccessKey=x"
DESTINATIONS: dict[str, dict[str, Any]] = {
    "webhook": {"config": {"url": "https://example.com/", "custom_headers": '{"x-a":"b"}'}},
    "hookdeck": {"credentials": {"token": "c3JjXzE6YS1zaWduaW5nLWtleQ=="}},
    "aws_sqs": {"config": {"queue_url": "https://sqs.example.com/q"}, "credentials": AWS},
    "aws_kinesis": {"config": {"stream_name": "s", "region": "eu-west-1"}, "credentials": AWS},
    "aws_s3": {"config": {"bucket": "b", "region": "eu-west-1"}, "credentials": AWS},
    "aws_eventbridge": {"config": {"region": "eu-west-1"}, "credentials": AWS},
    "azure_servicebus": {
        "config": {"name": "q"},
        "credentials": {"connection_string": SERVICE_BUS},
    },
    "gcp_pubsub": {
        "config": {"project_id": "p", "topic": "t"},
        "credentials": {"service_account_json": "{}"},
    },
    "rabbitmq": {
        "config": {"server_url": "r.example.com:5671", "exchange": "e", "tls": "true"},
        "credentials": NAME,
    },
    "kafka": {
        "config": {"brokers": "k.example.com:9092", "topic": "t", "sasl_mechanism": "plain"},
        "credentials": NAME,
    },
    "cloudflare_queues": {
        "config": {"account_id": HEX, "queue_id": HEX},
        "credentials": {"api_token": "a-long-token"},
    },
}
EVENT = {
    "id": "e9",
    "tenant_id": "acme",
    "topic": "user.created",
    "data": {"plan": "pro"},
    "metadata": {"k": "v"},
    "time": datetime(2026, 1, 31, tzinfo=UTC),
    "eligible_for_retry": True,
}
PERIOD = {"start": datetime(2026, 1, 1, tzinfo=UTC), "end": datetime(2027, 1, 1, tzinfo=UTC)}


class Caller:
    """Calls methods by name, in the mode that was asked for, and remembers which."""

    def __init__(self, key: str) -> None:
        self.client = Outpost(api_key=key, server_url=f"{URL}/api/v1")
        self.called: set[str] = set()

    async def __call__(self, name: str, **arguments: Any) -> Any:
        self.called.add(name)
        method: Any = self.client
        for part in (name if MODE == "sync" else f"{name}_async").split("."):
            method = getattr(method, part)
        return method(**arguments) if MODE == "sync" else await method(**arguments)

    async def failed(self, name: str, **arguments: Any) -> list[Any]:
        """The class of the error, its status, and the message in its body."""
        try:
            await self(name, **arguments)
        except errors.OutpostError as error:
            return [
                type(error).__name__,
                error.status_code,
                getattr(getattr(error, "data", None), "message", None),
            ]
        return []

    def not_called(self) -> list[str]:
        groups = [name for name in self.client._sub_sdk_map if name not in MANAGED]
        methods = {"publish", "retry"}
        for group in groups:
            own = vars(type(getattr(self.client, group)))
            methods |= {f"{group}.{name}" for name in own if not name.startswith("_")}
        plain = {name for name in methods if not name.endswith("_async")}
        return sorted(plain - self.called)


async def tenants(call: Caller) -> dict[str, Any]:
    said = {
        "health": (await call("health.check")).status,
        "topics": await call("topics.list"),
        "tenant": (
            await call("tenants.upsert", tenant_id="acme", body={"metadata": {"plan": "free"}})
        ).id,
        "again": (await call("tenants.upsert", tenant_id="acme")).metadata,
    }
    await call("tenants.upsert", tenant_id="other")
    first = await call("tenants.list", request={"limit": 1})
    rest = await call(
        "tenants.list", request={"limit": 1, "next_cursor": first.pagination.next_cursor}
    )
    said["tenants"] = [first.count, sorted(one.id for one in first.models + rest.models)]
    said["found"] = (await call("tenants.get", tenant_id="acme")).destinations_count
    said["portal"] = (
        await call("tenants.get_portal_url", tenant_id="acme", theme="dark")
    ).redirect_url
    token = (await call("tenants.get_token", tenant_id="acme")).token
    own = Caller(token)
    said["own"] = [one.id for one in (await own("tenants.list", request={})).models]
    said["not_own"] = await own.failed("tenants.get", tenant_id="other")
    said["deleted_tenant"] = (await call("tenants.delete", tenant_id="other")).success
    return said


async def a_kafka_without_sasl(call: Caller) -> str:
    """One that the SDK can read, though it couldn't have made it."""
    config = {"brokers": "k.example.com:9092", "topic": "t"}
    body = {"id": "bare", "type": "kafka", "topics": "*", "config": config}
    request = urllib.request.Request(
        f"{URL}/api/v1/tenants/acme/destinations",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    await asyncio.to_thread(urllib.request.urlopen, request, timeout=10)
    key = {"tenant_id": "acme", "destination_id": "bare"}
    found = await call("destinations.get", **key)
    await call("destinations.delete", **key)
    return str(found.config.sasl_mechanism.value)


async def destinations(call: Caller) -> dict[str, Any]:
    types = await call("schemas.list_destination_types")
    said: dict[str, Any] = {"types": [one.type for one in types]}
    kafka = await call("schemas.get_destination_type", type_="kafka")
    said["form"] = [[field.key, field.type, field.required] for field in kafka.config_fields]
    for type_, parts in DESTINATIONS.items():
        body = {"id": f"of-{type_}", "type": type_, "topics": ["user.created"], **parts}
        await call("destinations.create", tenant_id="acme", body=body)
    listed = await call("destinations.list", tenant_id="acme", topics="user.created")
    said["listed"] = {str(one.type.value): one.target for one in listed}
    chosen = await call("destinations.list", tenant_id="acme", type_=["kafka", "webhook"])
    said["chosen"] = [one.id for one in chosen]
    for type_ in DESTINATIONS:
        key = {"tenant_id": "acme", "destination_id": f"of-{type_}"}
        change = {"type": type_, "metadata": {"team": "x"}, "filter_": {"data": {"plan": "pro"}}}
        changed = await call("destinations.update", **key, body=change)
        assert changed.metadata == {"team": "x"}, changed
        got = await call("destinations.get", **key)
        assert got == changed, (got, changed)
    key = {"tenant_id": "acme", "destination_id": "of-webhook"}
    before = await call("destinations.get", **key)
    body = {"type": "webhook", "credentials": {"rotate_secret": True}, "filter_": None}
    after = await call("destinations.update", **key, body=body)
    said["rotated"] = after.credentials.previous_secret == before.credentials.secret
    said["disabled"] = (await call("destinations.disable", **key)).disabled_at is not None
    said["enabled"] = (await call("destinations.enable", **key)).disabled_at is None
    for type_ in DESTINATIONS:
        if type_ not in ("webhook", "kafka"):
            await call("destinations.delete", tenant_id="acme", destination_id=f"of-{type_}")
    said["bare_kafka"] = await a_kafka_without_sasl(call)
    said["missing"] = await call.failed(
        "destinations.get", tenant_id="acme", destination_id="of-aws_s3"
    )
    said["wrong"] = await call.failed(
        "destinations.create",
        tenant_id="acme",
        body={"type": "webhook", "topics": "*", "config": {"url": "ftp://x"}},
    )
    return said


async def events(call: Caller) -> dict[str, Any]:
    published = [await call("publish", request=EVENT) for _ in range(2)]
    said: dict[str, Any] = {
        "published": [[one.id, one.duplicate, sorted(one.destination_ids)] for one in published]
    }
    wanted = {
        "tenant_id": "acme",
        "topic": ["user.created"],
        "time_gte": PERIOD["start"],
        "limit": 1,
    }
    first = await call("events.list", request=wanted)
    rest = await call(
        "events.list", request={**wanted, "next_cursor": first.pagination.next_cursor}
    )
    said["events"] = [one.id for one in first.models + rest.models]
    said["event"] = (await call("events.get", event_id="e1", tenant_id="acme")).data
    said["retry"] = (
        await call("retry", request={"event_id": "e1", "destination_id": "of-webhook"})
    ).success
    said["conflict"] = await call.failed("publish", request={**EVENT, "data": {"plan": "other"}})
    said["invalid"] = await call.failed("publish", request={**EVENT, "tenant_id": "a/b"})
    said["unauthorized"] = await Caller("wrong").failed("publish", request=EVENT)
    return said


async def attempts(call: Caller) -> dict[str, Any]:
    everything = ["event", "event.data", "response_data", "destination"]
    listed = await call(
        "attempts.list",
        request={"tenant_id": "acme", "event_id": ["e1", "e2"], "include": everything},
    )
    said: dict[str, Any] = {
        "attempts": [
            [one.id, one.status, one.attempt_number, one.response_data, one.event.data]
            for one in listed.models
        ],
        "to": [one.destination.target for one in listed.models],
        "attempt": (await call("attempts.get", attempt_id="a1")).latency_ms,
    }
    key = {"tenant_id": "acme", "destination_id": "of-webhook"}
    own = await call("destinations.list_attempts", request={**key, "status": "failed"})
    said["failed"] = [one.id for one in own.models]
    one = await call("destinations.get_attempt", **key, attempt_id="a1", include="response_data")
    said["answer"] = one.response_data
    measures = ["count", "error_rate", "p50_latency", "p99_latency"]
    points = await call(
        "metrics.get_attempt_metrics",
        request={
            "time": PERIOD,
            "measures": measures,
            "granularity": "1M",
            "dimensions": ["manual", "attempt_number"],
            "filters_status": ["success", "failed"],
            "filters_destination_id": "of-webhook",
        },
    )
    said["metrics"] = [[at.dimensions, at.metrics] for at in points.data if at.metrics["count"]]
    counted = await call(
        "metrics.get_event_metrics", request={"time": PERIOD, "measures": ["count", "rate"]}
    )
    said["count"] = counted.data[0].metrics["count"]
    return said


async def main() -> None:
    call = Caller(KEY)
    said: dict[str, Any] = {}
    for part in (tenants, destinations, events, attempts):
        said |= await part(call)
    said["not_called"] = call.not_called()
    print(json.dumps(said))


asyncio.run(main())
