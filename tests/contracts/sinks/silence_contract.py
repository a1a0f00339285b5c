"""What every sink keeps to whose service was well, and then says nothing more."""

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from event_router.consumers.ports import Sink
from event_router.consumers.testing import SinkCase, a_delivery, forwarded_to
from event_router.schemas.errors import Unavailable

SECONDS = 2.0
LATEST = 20.0  # on a machine that has much else to do
PLACE = re.compile(r"(127\.0\.0\.1|localhost):([0-9]+)")

Silence = Callable[[], AbstractAsyncContextManager[None]]


class SilenceContract:
    """To be inherited beside SinkContract."""

    @asynccontextmanager
    async def through(self, case: SinkCase) -> AsyncIterator[tuple[SinkCase, Silence]]:
        """The same destination, and what makes it silent; here by a proxy before the place that
        stands in the config, or else in the credentials."""
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
                proxy.silence,
            )

    async def test_a_service_that_falls_silent_is_a_timeout_and_is_used_again_afterwards(
        self, case: SinkCase, open_sink: Callable[..., Sink]
    ) -> None:
        async with self.through(case) as (seen, silence):
            sink = open_sink(seen.config, seen.credentials, SECONDS)
            await delivered(sink, "evt_1")
            async with silence():
                began = time.monotonic()
                with pytest.raises(Unavailable) as caught:
                    await sink.deliver(a_delivery("evt_2"))
                took = time.monotonic() - began
            await delivered(sink, "evt_3")
            await sink.aclose()
        assert caught.value.code == "timeout", str(caught.value)
        assert took < LATEST
        assert {"evt_1", "evt_3"} <= {one.event for one in await case.arrived()}


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
