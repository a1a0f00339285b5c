"""A role that is stopped under load is gone in time, loses nothing and repeats next to nothing; one
that is killed repeats about a second's worth."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests import services
from tests.kafka_clients import producing
from tests.test_loop_live import TENANT, Loop, binary, loop

AT_ONCE = 20
PAUSE = 0.02
DRAIN = 5.0  # the default of ROUTER_DRAIN_TIMEOUT
LEAVING = 5.0  # to commit, to leave the group, to end the process on a busy machine


class Load:
    """Publishes for as long as it is entered; `ids` are those that Kafka has acknowledged."""

    def __init__(self, here: Loop) -> None:
        self.ids: list[str] = []
        self._here = here

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._publish(), name="publish")
        try:
            yield
        finally:
            task.cancel()

    async def of(self, count: int) -> None:
        """That many more have been acknowledged, and the first of them delivered."""
        begin = len(self.ids)
        await self._here.until(lambda: len(self.ids) >= begin + count)

    async def _publish(self) -> None:
        topic = self._here.system.topics.events
        async with producing(self._here.kafka) as producer:
            while True:
                begin = len(self.ids)
                names = [f"e{begin + number}" for number in range(AT_ONCE)]
                await producer.send([binary(topic, name) for name in names])
                self.ids += names
                await asyncio.sleep(PAUSE)


@asynccontextmanager
async def under_load(stack: tuple[str, str], namespace: str, folder: Path) -> AsyncIterator[Loop]:
    """At the end every event was delivered."""
    async with loop((*stack, {}), namespace, folder) as here:
        await here.ask("PUT", f"/tenants/{TENANT}", 201)
        await here.make_destination("healthy")
        load = Load(here)
        async with load.running():
            await load.of(200)
            yield here
            await load.of(200)
        await here.until(lambda: here.receiver.delivered("/healthy").keys() >= set(load.ids), 90)


def repeated(here: Loop) -> int:
    counts = here.receiver.delivered("/healthy")
    return counts.total() - len(counts)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("role", ["deliver", "stream", "log"])
async def test_a_role_that_is_stopped_under_load_is_gone_in_time_and_repeats_next_to_nothing(
    role: str, kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with under_load((kafka.bootstrap, redis_url), namespace, tmp_path) as here:
        took = await here.system.end(role)
        assert took < DRAIN + LEAVING
        here.system.start(role)
        await here.system.ready()
    assert repeated(here) < 20


@pytest.mark.timeout(240)
async def test_a_worker_that_is_killed_under_load_repeats_about_a_seconds_worth(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with under_load((kafka.bootstrap, redis_url), namespace, tmp_path) as here:
        before = here.receiver.delivered("/healthy").total()
        await asyncio.sleep(2)
        rate = (here.receiver.delivered("/healthy").total() - before) / 2
        here.system.kill("deliver")
        here.system.start("deliver")
        await here.system.ready()
    assert repeated(here) < 2 * rate + AT_ONCE
