"""What a program does that uses Outpost's Python SDK. Run with a URL in the SDK's own venv.

It prints what it was answered, as JSON.
"""

import json
import sys
from datetime import UTC, datetime

from outpost_sdk import (  # type: ignore[import-not-found]  # it has a virtual environment of its own
    Outpost,
    errors,
)

url, key = sys.argv[1:]
said = {}

with Outpost(api_key=key, server_url=f"{url}/api/v1") as client:
    said["health"] = client.health.check().status
    said["tenant"] = client.tenants.upsert(tenant_id="acme", body={"metadata": {"plan": "free"}}).id
    said["metadata"] = client.tenants.get(tenant_id="acme").metadata
    made = client.destinations.create(
        tenant_id="acme",
        body={
            "id": "d1",
            "type": "webhook",
            "topics": ["user.created"],
            "config": {"url": "https://example.com/hook"},
            "filter": {"data": {"plan": "pro"}},
        },
    )
    said["secret"] = made.credentials.secret
    client.destinations.create(
        tenant_id="acme",
        body={
            "id": "d2",
            "type": "kafka",
            "topics": "*",
            "config": {
                "brokers": "kafka.example.com:9092",
                "topic": "in",
                "sasl_mechanism": "plain",
            },
            "credentials": {"username": "u", "password": "p"},
        },
    )
    said["destinations"] = [
        one.id for one in client.destinations.list(tenant_id="acme", topics="user.created")
    ]
    said["target"] = client.destinations.get(tenant_id="acme", destination_id="d1").target
    said["disabled"] = (
        client.destinations.disable(tenant_id="acme", destination_id="d1").disabled_at is not None
    )
    client.destinations.enable(tenant_id="acme", destination_id="d1")
    event = {
        "id": "e9",
        "tenant_id": "acme",
        "topic": "user.created",
        "data": {"plan": "pro"},
        "metadata": {"k": "v"},
        "time": datetime(2026, 1, 31, tzinfo=UTC),
        "eligible_for_retry": True,
    }
    published = [client.publish(request=event) for _ in range(2)]
    said["published"] = [[one.id, one.duplicate, sorted(one.destination_ids)] for one in published]
    events = client.events.list(
        request={
            "tenant_id": "acme",
            "topic": ["user.created", "order.created"],
            "time_gte": datetime(2026, 1, 1, tzinfo=UTC),
        }
    )
    said["events"] = [one.id for one in events.models]
    said["event"] = client.events.get(event_id="e1").data
    attempts = client.attempts.list(
        request={
            "tenant_id": "acme",
            "event_id": ["e1", "e2"],
            "include": ["event.data", "response_data", "destination"],
        }
    )
    said["attempts"] = [
        [
            one.id,
            one.status,
            one.attempt_number,
            one.response_data,
            getattr(one.event, "data", None),
        ]
        for one in attempts.models
    ]
    said["attempt"] = client.attempts.get(attempt_id="a1").latency_ms
    said["retry"] = client.retry(request={"event_id": "e1", "destination_id": "d1"}).success
    said["deleted"] = client.destinations.delete(tenant_id="acme", destination_id="d2").success
    try:
        client.destinations.get(tenant_id="acme", destination_id="d2")
    except errors.NotFoundError as error:
        said["missing"] = error.data.message
    try:
        client.publish(request={**event, "data": {"plan": "other"}})
    except errors.APIErrorResponse as error:
        said["conflict"] = error.data.message
    try:
        client.publish(request={**event, "tenant_id": "a/b"})
    except errors.BadRequestError as error:
        said["invalid"] = error.data.message

with Outpost(api_key="wrong", server_url=f"{url}/api/v1") as stranger:
    try:
        stranger.tenants.get(tenant_id="acme")
    except errors.UnauthorizedError as error:
        said["unauthorized"] = error.data.message

print(json.dumps(said))
