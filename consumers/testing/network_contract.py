"""The contract of sinks whose service is over a network: what was well falls silent, or breaks."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, ClassVar, Protocol, get_args

import pytest

from event_router.consumers.ports import Sink
from event_router.consumers.testing.cases import SinkCase
from event_router.consumers.testing.network import Break, forwarded_to
from event_router.consumers.testing.values import a_delivery
from event_router.schemas.errors import Unavailable

AT_ONCE = 10
SECONDS = 2.0
LATEST = 20.0  # on a machine that has much else to do
UNCONNECTED = frozenset({"connection_reset", "network_error", "tls_error"})
PLACE = re.compile(r"(127\.0\.0\.1|localhost):([0-9]+)")


class Faults(Protocol):
    """What a network does to a destination (`testing.network.Forwarding`)."""

    def silence(self) -> AbstractAsyncContextManager[None]: ...
    def breaking(self, how: Break) -> AbstractAsyncContextManager[None]: ...
    async def cut(self, how: Break) -> None: ...


class NetworkContract:
    """To be inherited beside SinkContract. `broken` are the codes of a connection that breaks
    before the answer, `patience` the seconds of an attempt meanwhile: nearly none are to be spent.
    """

    broken: ClassVar[frozenset[str]] = frozenset({"connection_reset"})
    patience: ClassVar[float] = 3 * LATEST

    @asynccontextmanager
    async def through(self, case: SinkCase) -> AsyncIterator[tuple[SinkCase, Faults]]:
        """The same destination, and its faults; here by a proxy before the place that stands in
        the config, or else in the credentials."""
        place = _place(case.config) or _place(case.credentials)
        assert place, "it says of no place here"
        async with forwarded_to((place[1], int(place[2]))) as proxy:
            there = f"{place[1]}:{proxy.port}"
            yield (
                replace(
                    case,
                    config=_moved(case.config, place[0], there),
                    credentials=_moved(case.credentials, place[0], there),
                ),
                proxy,
            )

    async def test_a_service_that_falls_silent_is_a_timeout_and_is_used_again_afterwards(
        self, case: SinkCase, open_sink: Callable[..., Sink]
    ) -> None:
        async with self.through(case) as (seen, faults):
            sink = open_sink(seen.config, seen.credentials, SECONDS)
            await delivered(sink, "evt_1")
            async with faults.silence():
                began = time.monotonic()
                with pytest.raises(Unavailable) as caught:
                    await sink.deliver(a_delivery("evt_2"))
                took = time.monotonic() - began
            await delivered(sink, "evt_3")
            await sink.aclose()
        assert caught.value.code == "timeout", str(caught.value)
        assert took < LATEST
        assert {"evt_1", "evt_3"} <= {one.event for one in await case.arrived()}

    @pytest.mark.parametrize("how", get_args(Break))
    async def test_a_connection_that_breaks_before_the_answer_is_said_and_the_next_delivery_works(
        self, case: SinkCase, open_sink: Callable[..., Sink], how: Break
    ) -> None:
        """One that was there, and one that is made anew."""
        async with self.through(case) as (seen, faults):
            sink = open_sink(seen.config, seen.credentials, self.patience)
            await sink.deliver(a_delivery("evt_1"))
            began = time.monotonic()
            async with faults.breaking(how):
                broken = await _trouble(sink)
                anew = await _trouble(sink)
            took = time.monotonic() - began
            await sink.deliver(a_delivery("evt_3"))
            await sink.aclose()
        assert broken.code in self.broken, str(broken)
        assert anew.code in self.broken | UNCONNECTED, str(anew)
        assert took < LATEST
        assert {"evt_1", "evt_3"} <= {one.event for one in await case.arrived()}

    @pytest.mark.parametrize("how", get_args(Break))
    async def test_connections_that_break_unused_cost_one_attempt_at_most(
        self, case: SinkCase, open_sink: Callable[..., Sink], how: Break
    ) -> None:
        """As when the service starts again."""
        async with self.through(case) as (seen, faults):
            sink = open_sink(seen.config, seen.credentials, self.patience)
            names = [f"evt_{number}" for number in range(AT_ONCE)]
            await asyncio.gather(*(sink.deliver(a_delivery(name)) for name in names))
            await faults.cut(how)
            with suppress(Unavailable):
                await sink.deliver(a_delivery("evt_lost"))
            await sink.deliver(a_delivery("evt_last"))
            await sink.aclose()
        assert {*names, "evt_last"} <= {one.event for one in await case.arrived()}


async def _trouble(sink: Sink) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await sink.deliver(a_delivery("evt_2"))
    return caught.value


async def delivered(sink: Sink, event: str) -> None:
    """Within a few tries: a connection of before may turn out to be broken."""
    for _ in range(9):
        try:
            await sink.deliver(a_delivery(event))
        except Unavailable:
            continue
        return
    await sink.deliver(a_delivery(event))


def _place(given: Mapping[str, Any]) -> "re.Match[str] | None":
    found = [PLACE.search(str(value)) for value in given.values()]
    return next((place for place in found if place), None)


def _moved(given: Mapping[str, Any], here: str, there: str) -> dict[str, Any]:
    return {
        name: value.replace(here, there) if isinstance(value, str) else value
        for name, value in given.items()
    }
