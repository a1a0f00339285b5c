"""What Kinesis and EventBridge have in common: a batch of enveloped deliveries, and an answer that
says of each, in order, what became of it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from event_router.consumers.ports import Result
from event_router.consumers.sinks.aws import AwsService
from event_router.consumers.sinks.batched import InParts, Part
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Answer, TooLarge


class AwsEntries(InParts):
    """To be inherited: `operation`, `entries` and `receipt` are the service's names, `target` its
    parameters for where a batch goes, `longest` the bytes of an entry and `longest_call` those of a
    call, by its limits."""

    operation: ClassVar[str]
    entries: ClassVar[str]
    receipt: ClassVar[str]
    longest: ClassVar[int]
    longest_call: ClassVar[int]

    def __init__(self, service: AwsService, target: Mapping[str, str]) -> None:
        self._service = service
        self._target = target

    def entry(self, delivery: Delivery) -> Part:
        """As the service takes it."""
        raise NotImplementedError

    def most_bytes(self) -> int:
        return self.longest_call

    def attempt(self) -> AbstractAsyncContextManager[None]:
        return self._service.attempt()

    def part(self, delivery: Delivery) -> Part | TooLarge:
        part = self.entry(delivery)
        if part.size <= self.longest:
            return part
        return self._service.troubles.too_large(f"{part.size} bytes, of {self.longest} at most")

    async def call(self, contents: Sequence[dict[str, Any]]) -> Sequence[Result]:
        said = await self._service.call(self.operation, **self._target, **{self.entries: contents})
        return [self._result(one) for one in said[self.entries]]

    async def aclose(self) -> None:
        await self._service.aclose()

    def _result(self, said: Mapping[str, Any]) -> Result:
        if word := said.get("ErrorCode"):
            return self._service.trouble(word, said.get("ErrorMessage", ""))
        return Answer("OK", body=said[self.receipt].encode())
