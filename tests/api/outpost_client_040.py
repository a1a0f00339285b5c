"""What a program does that publishes with Outpost's Python SDK 0.4.0. Run with a URL and a key in
the SDK's own venv.

It prints what it was answered, as JSON.
"""

import json
import sys
from typing import Any

from outpost_sdk import (  # type: ignore[import-not-found]  # it has a virtual environment of its own
    Outpost,
    errors,
    models,
)

URL, KEY = sys.argv[1:]


def client(key: str) -> Any:
    security = models.Security(admin_api_key=key)
    return Outpost(security=security, server_url=f"{URL}/api/v1")


def publish(key: str = KEY, **more: Any) -> list[Any]:
    """What was answered, or the class of the error, its status and its message."""
    event = {
        "data": {"plan": "pro"},
        "id": "e9",
        "tenant_id": "acme",
        "destination_id": "d1",
        "topic": "user.created",
        "metadata": {"k": "v"},
        **more,
    }
    try:
        return [client(key).publish.event(**event).id]
    except errors.OutpostError as error:
        message = getattr(getattr(error, "data", None), "message", None)
        return [type(error).__name__, error.status_code, message]


said = {
    "published": publish(),
    "again": publish(),
    "conflict": publish(data={"plan": "other"}),
    "invalid": publish(tenant_id="a/b"),
    "large": publish(data={"text": "x" * 600_000}),
    "stranger": publish("wrong"),
}
print(json.dumps(said))
