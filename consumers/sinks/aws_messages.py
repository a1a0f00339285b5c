"""What SQS and SNS have in common: batches of ten text messages, with the metadata as JSON in one
attribute, and an answer that says of each what became of it."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.aws import AwsService, not_a_text, text_of
from event_router.consumers.sinks.batched import Batched
from event_router.consumers.sinks.metadata import merged_metadata, weight
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer


class AwsMessages(Batched):
    """To be inherited: `operation` and `body` are the service's names, `target` its parameters for
    where a batch goes, `longest` the bytes of a message, and of a batch, by its limits."""

    operation: ClassVar[str]
    entries: ClassVar[str]
    body: ClassVar[str]
    longest: ClassVar[int]
    batch: Batch

    def __init__(
        self, destination: Destination, service: AwsService, target: Mapping[str, str]
    ) -> None:
        self._destination = destination
        self._service = service
        self._target = target
        (name,) = target.values()
        self._fifo = name.endswith(".fifo")

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """What the service couldn't take isn't sent: it would spoil the others."""
        results: list[Result | None] = [self._refused(delivery) for delivery in deliveries]
        entries = [
            self._entry(str(number), delivery)
            for number, delivery in enumerate(deliveries)
            if results[number] is None
        ]
        if entries:
            said = await self._service.call(
                self.operation, **self._target, **{self.entries: entries}
            )
            for one in said.get("Successful", ()):
                results[int(one["Id"])] = Answer("OK", body=one["MessageId"].encode())
            for one in said.get("Failed", ()):
                status = 400 if one.get("SenderFault") else 500
                trouble = self._service.trouble(one["Code"], one.get("Message", ""), status)
                results[int(one["Id"])] = trouble
        unsaid = self._service.trouble("", "the answer says nothing of it", 500)
        return [unsaid if result is None else result for result in results]

    async def aclose(self) -> None:
        await self._service.aclose()

    def _refused(self, delivery: Delivery) -> Result | None:
        if weight(delivery) > self.longest:
            return self._service.troubles.too_large(f"{len(delivery.data)} bytes")
        return not_a_text() if text_of(delivery.data) is None else None

    def _entry(self, number: str, delivery: Delivery) -> Mapping[str, Any]:
        metadata = merged_metadata(self._destination.delivery_metadata, delivery.head)
        text = msgspec.json.encode(metadata).decode()
        return {
            "Id": number,
            self.body: text_of(delivery.data),
            "MessageAttributes": {"metadata": {"DataType": "String", "StringValue": text}},
            **(self._in_fifo(delivery.head) if self._fifo else {}),
        }

    def _in_fifo(self, head: DeliveryHead) -> Mapping[str, str]:
        """No order is promised, so each event is a group of its own: none waits for another."""
        own = f"{self._destination.id}/{head.event}/{head.round}".encode()
        digest = hashlib.sha256(own).hexdigest()
        return {"MessageGroupId": digest, "MessageDeduplicationId": digest}
