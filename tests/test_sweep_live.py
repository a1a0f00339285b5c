"""Sweep beside real services: what lies in Kafka is left alone, what has no room in Redis comes."""

import asyncio
from pathlib import Path

from event_router.router.adapters import open_schedule
from event_router.router.redis_pipe import RedisPipe
from event_router.router.store.log import SqlLog
from tests import services
from tests.test_loop_live import TENANT, Loop, binary, loop

WAITING = 3_000


async def entries(here: Loop) -> int:
    redis = RedisPipe(here.system.settings.redis)
    try:
        schedule = open_schedule(here.system.settings, here.system.topics, redis)
        return (await schedule.stats()).entries
    finally:
        await redis.aclose()


async def test_with_deliver_away_sweep_parks_nothing_of_what_waits_in_kafka(
    kafka: services.Kafka, redis_url: str, tmp_path: Path
) -> None:
    async with loop((kafka.bootstrap, redis_url, {}), services.unique(), tmp_path) as here:
        await here.ask("PUT", f"/tenants/{TENANT}", 201)
        await here.make_destination("d")
        here.system.kill("deliver")
        topic = here.system.topics.events
        await here.write(*(binary(topic, f"e{number}") for number in range(WAITING)))
        log = SqlLog(here.system.settings.log_url)

        async def all_logged() -> bool:
            return (await log.counts()).waiting == WAITING

        await here.until(all_logged)
        await log.aclose()
        for _ in range(2):
            assert await here.system.command("sweep") == "0 missing, 0 parked, 0 had no room\n"
        assert await entries(here) == 0
        here.system.start("deliver")
        await here.until(lambda: len(here.receiver.delivered("/d")) == WAITING)
        assert set(here.receiver.got("/d").values()) == {1}


async def test_what_redis_has_no_room_for_comes_once_there_is_some(
    kafka: services.Kafka, redis_url: str, tmp_path: Path
) -> None:
    """An eighth of a megabyte is for one destination: some ten of these."""
    small = {"ROUTER_REDIS_MAX_BYTES": str(1 << 20)}
    count = 60
    async with loop((kafka.bootstrap, redis_url, small), services.unique(), tmp_path) as here:
        await here.ask("PUT", f"/tenants/{TENANT}", 201)
        await here.make_destination("d")
        here.receiver.down.add("/d")
        topic = here.system.topics.events
        data = b'{"pad":"' + b"x" * 10_000 + b'"}'
        await here.write(*(binary(topic, f"e{number}", data) for number in range(count)))
        await here.until(lambda: len(here.receiver.got("/d")) >= 10)
        roles = [here.system.log(role) for role in ("deliver", "stream")]
        await here.until(lambda: any("schedule.full" in log.read_text() for log in roles))
        here.receiver.down.clear()
        await here.until(lambda: len(here.receiver.delivered("/d")) == count, 150)
        assert set(here.receiver.delivered("/d").values()) == {1}
        await asyncio.sleep(1)
        assert await entries(here) == 0
