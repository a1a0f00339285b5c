"""Two releases side by side on the same topics: neither loses what the other wrote."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from event_router.consumers.kafka.admin import Admin
from event_router.router.readiness import readiness
from tests import services
from tests.kafka_clients import read_all
from tests.releases import newer_release
from tests.test_loop_live import TENANT, Loop, binary, loop

DELIVERY = "schemas/delivery.py"
HEADS = "    v: int = VERSION\n"
NEW_FIELD = (DELIVERY, HEADS, f'{HEADS}    trace: str = "of the newer release"\n')
NEW_VERSION = (DELIVERY, "VERSION = 1\n", "VERSION = 2\n")
READS_BOTH = (DELIVERY, "frozenset({VERSION})", "frozenset({1, VERSION})")


async def replaced(here: Loop, release: dict[str, str], *roles: str) -> None:
    """Processes of that release take the places of those that run."""
    for role in roles:
        await here.system.end(role)
        here.system.start(role, **release)
    await here.system.ready()


async def prepare(here: Loop) -> None:
    await here.ask("PUT", f"/tenants/{TENANT}", 201)
    for name in ("healthy", "flaky"):
        await here.make_destination(name)
    here.receiver.answers["/flaky"] = [503] * 20


async def delivered_once(here: Loop, ids: set[str]) -> None:
    for path in ("/healthy", "/flaky"):
        await here.until(partial(_all_taken, here, path, ids))
        assert here.receiver.delivered(path) == dict.fromkeys(ids, 1)


def _all_taken(here: Loop, path: str, ids: set[str]) -> bool:
    return here.receiver.delivered(path).keys() == ids


@pytest.mark.timeout(240)
async def test_fields_of_the_newer_release_pass_through_workers_of_the_older(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    newer = newer_release(tmp_path / "newer", NEW_FIELD)
    async with loop((kafka.bootstrap, redis_url, {}), namespace, tmp_path) as here:
        await prepare(here)
        await replaced(here, newer, "stream")
        here.system.start("deliver", "newer deliver", **newer)
        await here.system.ready()
        ids = {f"e{number}" for number in range(60)}
        topics = here.system.topics
        await here.write(*(binary(topics.events, one) for one in sorted(ids)))
        await delivered_once(here, ids)
        attempts = await read_all(kafka, topics.attempts)
        traces = Counter(
            json.loads(one.headers[0][1] or b"")["delivery"]["trace"] for one in attempts
        )
        assert traces == {"of the newer release": 2 * len(ids) + 20}


def _says_what_waits(here: Loop, role: str) -> Callable[[], Awaitable[bool]]:
    async def says() -> bool:
        look = await readiness(here.system.health[role])
        said = " ".join(look.troubles.values()) if look else ""
        return "of version 2, which this release can't read: upgrade it" in said

    return says


async def _committed(here: Loop, role: str, topic: str) -> int:
    """How many of its records the role has done."""
    async with Admin(here.kafka) as admin:
        return sum((await admin.committed(here.system.topics.group(role), topic)).values())


@pytest.mark.timeout(240)
async def test_what_only_the_newer_release_can_read_waits_for_it(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    newer = newer_release(tmp_path / "newer", NEW_VERSION, READS_BOTH)
    async with loop((kafka.bootstrap, redis_url, {}), namespace, tmp_path) as here:
        await prepare(here)
        await replaced(here, newer, "stream")
        ids = {f"e{number}" for number in range(60)}
        await here.write(*(binary(here.system.topics.events, one) for one in sorted(ids)))
        for role in ("deliver", "log"):
            await here.until(_says_what_waits(here, role))
        assert not here.receiver.requests
        assert await _committed(here, "deliver", here.system.topics.deliveries) == 0
        await replaced(here, newer, "deliver", "log")
        await delivered_once(here, ids)

        async def logged() -> bool:
            page = await here.ask("GET", f"/attempts?tenant_id={TENANT}&limit=1000")
            return len(page["models"]) == 2 * len(ids) + 20

        await here.until(logged)


@pytest.mark.timeout(240)
async def test_attempts_of_the_newer_release_wait_for_a_stream_that_can_read_them(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    newer = newer_release(tmp_path / "newer", NEW_VERSION, READS_BOTH)
    async with loop((kafka.bootstrap, redis_url, {}), namespace, tmp_path) as here:
        await prepare(here)
        await replaced(here, newer, "deliver")
        ids = {f"e{number}" for number in range(60)}
        await here.write(*(binary(here.system.topics.events, one) for one in sorted(ids)))
        await here.until(partial(_all_taken, here, "/healthy", ids))
        for role in ("stream", "log"):
            await here.until(_says_what_waits(here, role))
        assert await _committed(here, "stream", here.system.topics.attempts) == 0
        assert here.receiver.got("/flaky").keys() - here.receiver.delivered("/flaky").keys()
        await replaced(here, newer, "stream", "log")
        await delivered_once(here, ids)
