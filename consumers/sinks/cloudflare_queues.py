"""A queue of Cloudflare, over its HTTP API.

A message is a JSON object: `metadata`, and the payload as the string `data`, byte for byte (base64
of it as `data_base64` when it isn't UTF-8), since its messages have no attributes.
"""

import base64
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, ClassVar

import msgspec
from pydantic import BaseModel, Field

from event_router.consumers.http1.target import target_of
from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.batched import InParts, Part
from event_router.consumers.sinks.fields import Fields, Secret, Shown
from event_router.consumers.sinks.http_service import HttpService
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.trouble import Troubles
from event_router.consumers.sinks.webhook import USER_AGENT
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import TooLarge

LONGEST, LONGEST_CALL = 128_000, 256_000
"""Bytes of one message, and of all in one call, by Cloudflare's limits."""

_CALL = b'{"messages":[%s]}'

HexId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")]
_encode = msgspec.json.Encoder().encode


class CloudflareQueuesConfig(Fields):
    """A queue."""

    account_id: HexId = Field(title="Account ID")
    queue_id: HexId = Field(title="Queue ID", description="Not the queue's name.")


class CloudflareQueuesCredentials(Fields):
    """Of an account."""

    api_token: Secret = Field(
        title="API token", description="With the permission Queues Edit.", repr=False
    )


class CloudflareQueues(InParts):
    """A queue of Cloudflare."""

    label: ClassVar[str] = "Cloudflare Queues"
    description: ClassVar[str] = "Send events to a queue of Cloudflare"
    Config: ClassVar[type[BaseModel]] = CloudflareQueuesConfig
    Credentials: ClassVar[type[BaseModel]] = CloudflareQueuesCredentials
    batch: Batch = Batch(count=100, bytes=200_000)

    def __init__(
        self,
        destination: Destination,
        config: CloudflareQueuesConfig,
        credentials: CloudflareQueuesCredentials,
        resources: SinkResources,
    ) -> None:
        queue = f"{self.url_of(config.account_id)}/queues/{config.queue_id}"
        headers = [
            ("user-agent", USER_AGENT),
            ("content-type", "application/json"),
            ("authorization", f"Bearer {credentials.api_token}"),
        ]
        self._fixed = destination.delivery_metadata
        self._troubles = Troubles(credentials)
        self._seconds = resources.timeout
        target = target_of(f"{queue}/messages/batch", headers)
        pool = (destination.key, destination.version)
        self._service = HttpService(target, pool, resources, self._troubles)

    @staticmethod
    def shown(config: CloudflareQueuesConfig) -> Shown:
        return Shown(config.queue_id)

    @staticmethod
    def url_of(account: str) -> str:
        return f"https://api.cloudflare.com/client/v4/accounts/{account}"

    def most_bytes(self) -> int:
        return LONGEST_CALL - len(_CALL)

    def attempt(self) -> AbstractAsyncContextManager[None]:
        return self._troubles.attempt(self._seconds)

    def part(self, delivery: Delivery) -> Part | TooLarge:
        message = self._message(delivery)
        if len(message) > LONGEST:
            return self._troubles.too_large(f"{len(message)} bytes, of {LONGEST} at most")
        return Part(message, len(message) + len(b","))

    async def call(self, contents: Sequence[bytes]) -> Sequence[Result]:
        """The service takes all of them, or none."""
        return [await self._service.post((), _CALL % b",".join(contents))] * len(contents)

    async def aclose(self) -> None:
        self._service.aclose()

    def _message(self, delivery: Delivery) -> bytes:
        body = {"metadata": merged_metadata(self._fixed, delivery.head), **_data(delivery.data)}
        return _encode({"body": body, "content_type": "json"})


def _data(payload: bytes) -> dict[str, Any]:
    try:
        return {"data": payload.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(payload).decode()}
