"""Deliveries of one destination that come together go to its service in one call.

Nobody waits for company: what arrives within one turn of the event loop goes at once, alone or
not, and only while as many calls run as the sink allows do later ones gather.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from event_router.consumers.ports import BatchSink, Result
from event_router.consumers.sinks.metadata import weight
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Answer, EventRouterError


class _Waiting(NamedTuple):
    delivery: Delivery
    weight: int
    result: "asyncio.Future[Answer]"


class Batches:
    """A sink of single deliveries, on one that takes several; each gets its own result."""

    def __init__(self, sink: BatchSink) -> None:
        self._sink = sink
        self._waiting: deque[_Waiting] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._turn: asyncio.Handle | None = None

    async def deliver(self, delivery: Delivery) -> Answer:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append(_Waiting(delivery, weight(delivery), result))
        if self._turn is None and len(self._calls) < self._sink.batch.at_once:
            self._turn = loop.call_soon(self._start)
        return await result

    async def aclose(self) -> None:
        """Nobody waits for a delivery any more."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._sink.aclose()

    def _start(self) -> None:
        """As many calls as may run, for what waits."""
        self._turn = None
        while len(self._calls) < self._sink.batch.at_once and (batch := self._take()):
            call = asyncio.create_task(self._call(batch), name=f"batch of {len(batch)}")
            self._calls.add(call)
            call.add_done_callback(partial(self._ended, batch))
            for one in batch:
                one.result.add_done_callback(partial(_give_up, call, batch))

    def _take(self) -> list[_Waiting]:
        """The next batch, without those that were cancelled."""
        most = self._sink.batch
        batch: list[_Waiting] = []
        room = most.bytes
        while self._waiting and len(batch) < most.count:
            one = self._waiting[0]
            if batch and one.weight > room:
                break
            self._waiting.popleft()
            if not one.result.done():
                batch.append(one)
                room -= one.weight
        return batch

    async def _call(self, batch: Sequence[_Waiting]) -> None:
        results: Iterable[Result]
        try:
            results = await self._sink.deliver_many([one.delivery for one in batch])
        except EventRouterError as trouble:
            for one in batch:
                _settle(one, trouble)
        else:
            for one, result in zip(batch, results, strict=True):
                _settle(one, result)

    def _ended(self, batch: Sequence[_Waiting], call: asyncio.Task[None]) -> None:
        """Whatever became of the call, everybody who waits for it learns of it."""
        self._calls.discard(call)
        mistake = None if call.cancelled() else call.exception()
        for one in batch:
            if mistake is not None:
                _settle(one, mistake)
            else:
                one.result.cancel()  # changes nothing where there is a result
        if self._waiting and self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._start)


def _settle(one: _Waiting, result: Answer | BaseException) -> None:
    if one.result.done():
        return
    if isinstance(result, BaseException):
        one.result.set_exception(result)
    else:
        one.result.set_result(result)


def _give_up(
    call: asyncio.Task[None], batch: Sequence[_Waiting], _: "asyncio.Future[Answer]"
) -> None:
    """A call for whose results nobody waits any more is cancelled."""
    if all(one.result.cancelled() for one in batch):
        call.cancel()
