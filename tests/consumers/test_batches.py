"""Deliveries that come together go in one call, and each gets its own result."""

import asyncio
from collections.abc import Sequence

import pytest

from event_router.consumers.batches import Batches
from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.metadata import weight
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Answer, Rejected, Unavailable
from tests.sinks import a_delivery


class Recording:
    """Answers with each event's id, once `go` is set."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.calls: list[list[str]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.cancelled = 0
        self.closed = False

    async def deliver(self, delivery: Delivery) -> Answer:
        raise AssertionError("single deliveries are batches of one")

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        names = [one.head.event for one in deliveries]
        self.calls.append(names)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if "down" in names:
            raise Unavailable("down")
        if "mistake" in names:
            return []
        return [Rejected("spoilt") if name == "spoilt" else Answer(name) for name in names]

    async def aclose(self) -> None:
        self.closed = True


def several(count: int = 10, bytes_: int = 1 << 20, at_once: int = 4) -> tuple[Recording, Batches]:
    sink = Recording(Batch(count, bytes_, at_once))
    return sink, Batches(sink)


def sent(batches: Batches, *names: str) -> "list[asyncio.Task[Answer]]":
    return [asyncio.create_task(batches.deliver(a_delivery(name)), name=name) for name in names]


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_alone_does_not_wait_for_company() -> None:
    sink, batches = several()
    (one,) = sent(batches, "a")
    await turns()
    assert sink.calls == [["a"]]
    assert (await one).code == "a"


async def test_those_that_come_together_go_in_calls_of_so_many() -> None:
    sink, batches = several(count=3)
    answers = await asyncio.gather(*sent(batches, *"abcdefg"))
    assert sink.calls == [list("abc"), list("def"), ["g"]]
    assert [answer.code for answer in answers] == list("abcdefg")


async def test_a_call_takes_no_more_bytes_than_the_sink_says_but_at_least_one() -> None:
    size = weight(a_delivery("a"))
    sink, batches = several(bytes_=2 * size)
    big = asyncio.create_task(batches.deliver(a_delivery("big", b"x" * 3 * size)), name="big")
    others = sent(batches, *"abc")
    await asyncio.gather(big, *others)
    assert sink.calls == [["big"], ["a", "b"], ["c"]]


async def test_later_ones_gather_while_as_many_calls_run_as_may() -> None:
    sink, batches = several(at_once=2)
    sink.go.clear()
    for name in "ab":
        sent(batches, name)
        await turns()
    later = sent(batches, *"cde")
    await turns()
    assert sink.calls == [["a"], ["b"]]
    sink.go.set()
    await asyncio.gather(*later)
    assert sink.calls == [["a"], ["b"], ["c", "d", "e"]]


async def test_each_has_its_own_result() -> None:
    _, batches = several()
    first, spoilt, last = await asyncio.gather(
        *sent(batches, "a", "spoilt", "b"), return_exceptions=True
    )
    assert (first, last) == (Answer("a"), Answer("b"))
    assert isinstance(spoilt, Rejected)


async def test_a_trouble_of_the_call_is_that_of_each() -> None:
    _, batches = several()
    results = await asyncio.gather(*sent(batches, "a", "down"), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]


async def test_a_mistake_of_the_sink_reaches_those_who_wait_and_nobody_else() -> None:
    _, batches = several()
    results = await asyncio.gather(*sent(batches, "a", "mistake"), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
    assert (await batches.deliver(a_delivery("b"))).code == "b"


async def test_one_that_is_cancelled_takes_no_other_with_it() -> None:
    sink, batches = several()
    sink.go.clear()
    first, second = sent(batches, "a", "b")
    await turns()
    first.cancel()
    await turns()
    sink.go.set()
    assert (await second).code == "b"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_call_that_nobody_waits_for_is_cancelled_and_the_next_goes() -> None:
    sink, batches = several(at_once=1)
    sink.go.clear()
    tasks = sent(batches, "a", "b")
    await turns()
    gone, kept = sent(batches, "gone", "kept")
    await turns()
    for task in (*tasks, gone):
        task.cancel()
    await turns()
    assert sink.cancelled == 1
    sink.go.set()
    assert (await kept).code == "kept"
    assert sink.calls == [["a", "b"], ["kept"]]


async def test_closing_ends_what_runs_and_closes_the_sink() -> None:
    sink, batches = several()
    sink.go.clear()
    (task,) = sent(batches, "a")
    await turns()
    sent(batches, "b")[0].cancel()
    await batches.aclose()
    assert (sink.cancelled, sink.closed) == (1, True)
    with pytest.raises(asyncio.CancelledError):
        await task
