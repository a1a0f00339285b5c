"""What SQS and SNS have in common: batches of ten text messages, with the metadata as JSON in one
attribute, and an answer that says of each what became of it."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import msgspec

from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.aws import AwsService, not_a_text, text_of
from event_router.consumers.sinks.batched import InParts, Part
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, Rejected

_TYPE = "String"


class AwsMessages(InParts):
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

    def most_bytes(self) -> int:
        return self.longest

    def attempt(self) -> AbstractAsyncContextManager[None]:
        return self._service.attempt()

    def part(self, delivery: Delivery) -> Part | Rejected:
        body = text_of(delivery.data)
        if body is None:
            return not_a_text()
        metadata = msgspec.json.encode(
            merged_metadata(self._destination.delivery_metadata, delivery.head)
        )
        size = len(delivery.data) + len("metadata" + _TYPE) + len(metadata)
        if size > self.longest:
            return self._service.troubles.too_large(f"{size} bytes, of {self.longest} at most")
        told = {"DataType": _TYPE, "StringValue": metadata.decode()}
        entry = {self.body: body, "MessageAttributes": {"metadata": told}}
        return Part(entry | (self._in_fifo(delivery.head) if self._fifo else {}), size)

    async def call(self, contents: Sequence[dict[str, Any]]) -> Sequence[Result]:
        entries = [{"Id": str(number), **entry} for number, entry in enumerate(contents)]
        said = await self._service.call(self.operation, **self._target, **{self.entries: entries})
        unsaid = self._service.trouble("", "the answer says nothing of it", 500)
        results: list[Result] = [unsaid] * len(entries)
        for one in said.get("Successful", ()):
            results[int(one["Id"])] = Answer("OK", body=one["MessageId"].encode())
        for one in said.get("Failed", ()):
            status = 400 if one.get("SenderFault") else 500
            trouble = self._service.trouble(one["Code"], one.get("Message", ""), status)
            results[int(one["Id"])] = trouble
        return results

    async def aclose(self) -> None:
        await self._service.aclose()

    def _in_fifo(self, head: DeliveryHead) -> dict[str, str]:
        """No order is promised, so each event is a group of its own: none waits for another."""
        own = f"{self._destination.id}/{head.event}/{head.round}".encode()
        digest = hashlib.sha256(own).hexdigest()
        return {"MessageGroupId": digest, "MessageDeduplicationId": digest}
