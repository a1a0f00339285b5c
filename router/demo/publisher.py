"""The demo's producers: one writes to Kafka, one POSTs to the API, each event with a new id."""

import asyncio
import random
from dataclasses import dataclass

import httpx
import msgspec

from event_router.consumers.ports import Producer
from event_router.router.clock import now_ms
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.decode import rfc3339
from event_router.schemas.ids import new_id
from event_router.schemas.topics import Topics

TENANT = "demo"
TOPICS = ("order.created", "order.paid", "user.created")
EVERY = 0.5


@dataclass(slots=True)
class Publisher:
    """Publishes until it is cancelled. `troubles` counts what neither Kafka nor the API took."""

    http: httpx.AsyncClient
    producer: Producer
    topics: Topics
    troubles: int = 0

    async def run(self) -> None:
        while True:
            await asyncio.gather(self._over_kafka(), self._over_http(), asyncio.sleep(EVERY))

    async def _over_kafka(self) -> None:
        event = NewEvent(
            tenant=TENANT,
            id=new_id(),
            source="demo",
            topic=random.choice(TOPICS),
            time=rfc3339(now_ms()),
            data=_payload(),
        )
        await self.producer.send([event_message(event, self.topics.events)])

    async def _over_http(self) -> None:
        body = {
            "tenant_id": TENANT,
            "id": new_id(),
            "topic": random.choice(TOPICS),
            "data": msgspec.Raw(_payload()),
        }
        try:
            answer = await self.http.post("/api/v1/publish", content=msgspec.json.encode(body))
            answer.raise_for_status()
        except httpx.HTTPError:
            self.troubles += 1


def _payload() -> bytes:
    return msgspec.json.encode({"amount": random.randrange(1, 1000), "currency": "EUR"})
