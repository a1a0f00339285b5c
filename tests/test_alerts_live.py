"""A destination that fails and operators who hear of it, with roles as processes."""

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import httpx

from tests import services
from tests.receivers import Reader, Request, Writer, read_request, scripted
from tests.system import API_KEY, TANSU, environment, running

SECRET = "hunter2"
TOPICS = {
    "alert.destination.consecutive_failure",
    "alert.destination.disabled",
    "alert.attempt.exhausted_retries",
}


class Ends:
    """The tenant's end answers 500, the operators' 200, but 503 at first."""

    def __init__(self) -> None:
        self.told: list[Request] = []
        self.refused = False

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        while True:
            request = await read_request(reader)
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % self._status(request))
            await writer.drain()

    def _status(self, request: Request) -> int:
        if not request.line.startswith("POST /operators "):
            return 500
        if not self.refused:
            self.refused = True
            return 503
        self.told.append(request)
        return 200


async def test_operators_hear_of_a_destination_that_is_disabled_for_its_failures(
    tansu: services.Kafka, valkey_url: str, namespace: str, tmp_path: Path
) -> None:
    ends = Ends()
    async with scripted(ends) as server:
        url = f"http://127.0.0.1:{server.port}"
        env = environment(
            tansu.bootstrap,
            valkey_url,
            tmp_path,
            NAMESPACE=namespace,
            RETRY_SCHEDULE="0.1,0.1",
            AUTO_DISABLE_AFTER="3",
            OPERATOR_EVENTS_URL=f"{url}/operators",
            OPERATOR_EVENTS_SECRET=SECRET,
        )
        async with running(env | TANSU, tmp_path) as system:
            headers = {"Authorization": f"Bearer {API_KEY}"}
            async with httpx.AsyncClient(base_url=system.api, headers=headers) as http:
                await _publish(http, f"{url}/broken")
                async with asyncio.timeout(60):
                    while {_told(one)["topic"] for one in ends.told} != TOPICS:
                        await asyncio.sleep(0.1)
                shown = (await http.get("/api/v1/tenants/acme/destinations/broken")).json()
    assert shown["disabled_at"] is not None
    for request in ends.told:
        signed = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
        assert request.header("x-outpost-signature") == f"v0={signed}"
        assert request.header("x-outpost-event-id") == _told(request)["id"]
        assert _told(request)["data"]["destination"]["id"] == "broken"


def _told(request: Request) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(request.body)
    return told


async def _publish(http: httpx.AsyncClient, url: str) -> None:
    """One event to a destination at `url`."""
    (await http.put("/api/v1/tenants/acme")).raise_for_status()
    destination = {"id": "broken", "type": "webhook", "topics": "*", "config": {"url": url}}
    made = await http.post("/api/v1/tenants/acme/destinations", json=destination)
    made.raise_for_status()
    event = {"tenant_id": "acme", "topic": "order.created", "data": {}}
    (await http.post("/api/v1/publish", json=event)).raise_for_status()
