"""What Kinesis and EventBridge have in common: a batch of enveloped deliveries, and an answer that
says of each, in order, what became of it."""

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any, ClassVar

from event_router.consumers.ports import Result
from event_router.consumers.sinks.aws import AwsService
from event_router.consumers.sinks.batched import Batched
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Answer


class AwsEntries(Batched):
    """To be inherited: `operation`, `entries` and `receipt` are the service's names, `target` its
    parameters for where a batch goes, `longest` the bytes of an entry, by its limits."""

    operation: ClassVar[str]
    entries: ClassVar[str]
    receipt: ClassVar[str]
    longest: ClassVar[int]

    def __init__(self, service: AwsService, target: Mapping[str, str]) -> None:
        self._service = service
        self._target = target

    def entry(self, delivery: Delivery) -> tuple[dict[str, Any], int]:
        """As the service takes it, and its size in bytes."""
        raise NotImplementedError

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """What is too large for the service isn't sent: it would spoil the others."""
        made = [self.entry(delivery) for delivery in deliveries]
        fit = [size <= self.longest for _, size in made]
        sent = [entry for entry, _ in compress(made, fit)]
        said = iter(await self._put(sent) if sent else ())
        return [
            self._result(next(said))
            if size <= self.longest
            else self._service.troubles.too_large(f"{size} bytes, of {self.longest} at most")
            for _, size in made
        ]

    async def aclose(self) -> None:
        await self._service.aclose()

    async def _put(self, entries: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        answer = await self._service.call(self.operation, **self._target, **{self.entries: entries})
        said: Sequence[dict[str, Any]] = answer[self.entries]
        return said

    def _result(self, said: Mapping[str, Any]) -> Result:
        if word := said.get("ErrorCode"):
            return self._service.trouble(word, said.get("ErrorMessage", ""))
        return Answer("OK", body=said[self.receipt].encode())
