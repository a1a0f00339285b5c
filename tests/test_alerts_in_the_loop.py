"""Alerts and disabling in the whole loop, with a crash at each of its calls as well."""

import functools
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from event_router.router.decisions.alerts import (
    ALERTS,
    ALL,
    CONSECUTIVE_FAILURE,
    DISABLED,
    EXHAUSTED,
    FAILED,
    SUCCEEDED,
    AlertPolicy,
)
from event_router.router.hops.operator_events import OPERATOR
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.delivery import DestinationKey
from tests.crash import Fuse, Moment
from tests.loop import World, destination, unavailable
from tests.virtual_time import run_virtually

OF_SETTLE = frozenset(
    ("send", "park", "remove", "claim", "backoff", "set_backoff", "disable_unless_changed_since")
)
BROKEN = DestinationKey("acme", "broken")


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def sync(*args: Any, **kwargs: Any) -> None:
        run_virtually(test(*args, **kwargs))

    return sync


def broken_world(**policy: Any) -> World:
    """One destination that never works, and operators who want to know of it."""
    world = World()
    world.directory.put(destination("broken"))
    world.receiver.answers = {"broken": [unavailable("500")] * 1000}
    world.wants_alerts(AlertPolicy(frozenset(ALERTS), **policy))
    return world


async def publish_once(world: World, *ids: str, tenant: str = "acme") -> None:
    """Events that are tried once."""
    now = "2026-01-01T00:00:00Z"
    events = [
        NewEvent(tenant, id_, "test", "order.created", now, b"{}", retry=False) for id_ in ids
    ]
    await world.broker.send([event_message(event, world.topics.events) for event in events])


def topics_told(world: World) -> Counter[str]:
    return Counter(envelope["topic"] for envelope in world.told())


def shares_told(world: World) -> list[int]:
    return sorted(
        envelope["data"]["consecutive_failures"]["threshold"]
        for envelope in world.told()
        if envelope["topic"] == CONSECUTIVE_FAILURE
    )


@virtually
async def test_each_share_of_failures_in_a_row_is_told_once() -> None:
    world = broken_world(alert_after=4)
    await world.publish("e1")
    await world.run_until_settled()
    assert shares_told(world) == [50, 70, 100]
    assert world.disabled.keys == []


@virtually
async def test_after_so_many_failures_in_a_row_a_destination_is_disabled_and_that_is_told() -> None:
    world = broken_world(disable_after=4)
    await world.publish("e1")
    await world.run_until_settled()
    assert world.disabled.keys == [BROKEN]
    (told,) = [one for one in world.told() if one["topic"] == DISABLED]
    assert told["tenant_id"] == "acme"
    assert told["data"]["destination"]["id"] == "broken"
    assert told["data"]["reason"] == "consecutive_failure"


@virtually
async def test_a_disabled_destination_is_counted_anew() -> None:
    world = broken_world(disable_after=4)
    await world.publish("e1")
    await world.run_until_settled()
    assert BROKEN not in await world.schedule.backoff([BROKEN])


@virtually
async def test_a_success_in_between_ends_the_row() -> None:
    world = broken_world(disable_after=4)
    world.receiver.answers = {"broken": [unavailable("500")] * 3}
    await world.publish("e1")
    await world.run_until_settled()
    world.receiver.answers = {"broken": [unavailable("500")] * 3}
    await world.publish("e2")
    await world.run_until_settled()
    assert world.disabled.keys == []


@virtually
async def test_destinations_of_two_tenants_with_one_name_are_counted_apart() -> None:
    world = broken_world(disable_after=2)
    world.directory.put(destination("broken", tenant="other"))
    await publish_once(world, "e1", tenant="acme")
    await publish_once(world, "e1", tenant="other")
    await world.run_until_settled()
    assert world.disabled.keys == []
    assert shares_told(world) == [50, 50]


@virtually
async def test_exhausted_retries_of_a_destination_are_told_once_in_the_window() -> None:
    world = broken_world(alert_after=0)
    world.directory.put(destination("broken", tenant="other"))
    await world.publish("e1", "e2", "e3")
    await world.run_until_settled()
    assert topics_told(world) == {EXHAUSTED: 1}


@virtually
async def test_without_a_window_each_delivery_whose_retries_are_exhausted_is_told() -> None:
    world = broken_world(alert_after=0, window=0)
    await world.publish("e1", "e2", "e3")
    await world.run_until_settled()
    assert topics_told(world) == {EXHAUSTED: 3}
    assert {one["data"]["event"]["id"] for one in world.told()} == {"e1", "e2", "e3"}


@virtually
async def test_every_attempt_is_told_to_those_who_want_it() -> None:
    world = broken_world()
    world.directory.put(destination("healthy"))
    world.alert_policy = AlertPolicy(frozenset({ALL}), alert_after=0, window=0)
    await publish_once(world, "e1")
    await world.run_until_settled()
    assert topics_told(world) == {SUCCEEDED: 1, FAILED: 1}


@virtually
async def test_trouble_of_the_operators_own_destination_is_told_to_nobody() -> None:
    world = broken_world(alert_after=1, disable_after=1, window=0)
    world.receiver.answers["operator-events"] = [unavailable("410"), *[unavailable("500")] * 1000]
    await publish_once(world, "e1")
    await world.run_until_settled()
    dead = [(to, reason) for to, _, reason in world.dead()]
    assert sorted(dead) == [
        ("broken", "not_eligible_for_retry"),
        ("operator-events", "retries_exhausted"),
        ("operator-events", "retries_exhausted"),
    ]
    assert world.disabled.keys == [BROKEN]


@virtually
async def test_an_alert_is_retried_until_it_is_delivered() -> None:
    world = broken_world(alert_after=0)
    world.receiver.answers["operator-events"] = [unavailable("503"), unavailable("timeout")]
    await world.publish("e1")
    await world.run_until_settled()
    assert topics_told(world) == {EXHAUSTED: 1}


@virtually
async def test_only_attempts_since_its_last_change_disable_a_destination() -> None:
    world = broken_world(disable_after=1)
    changed_later = 1 << 50
    world.directory.put(destination("broken", updated_at=changed_later))
    await publish_once(world, "e1")
    await world.run_until_settled()
    assert world.disabled.keys == []
    assert topics_told(world) == {CONSECUTIVE_FAILURE: 1}


@virtually
async def test_without_anybody_who_wants_them_there_are_no_operator_events() -> None:
    world = broken_world()
    world.alert_policy = AlertPolicy(disable_after=4)
    await world.publish("e1")
    await world.run_until_settled()
    assert world.told() == []
    assert world.disabled.keys == [BROKEN]
    events = world.broker.records(world.topics.events)
    assert OPERATOR.encode() not in {record.header("ce_tenantid") for record in events}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", range(1, 31))
@virtually
async def test_no_single_crash_loses_an_alert(at: int, moment: Moment) -> None:
    world = broken_world(alert_after=4)
    fuse = Fuse(at, moment, only=OF_SETTLE)
    await world.publish("e1")
    await world.run_until_settled(fuse, lives=2)
    assert fuse.burnt is not None
    assert set(shares_told(world)) == {50, 70, 100}, f"after a crash {moment} {fuse.burnt}"
    assert topics_told(world)[EXHAUSTED] >= 1


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", range(1, 14))
@virtually
async def test_no_single_crash_disables_in_silence(at: int, moment: Moment) -> None:
    world = broken_world(alert_after=0)
    world.receiver.answers = {"broken": [unavailable("410")] * 1000}
    fuse = Fuse(at, moment, only=OF_SETTLE)
    await publish_once(world, "e1")
    with suppress(TimeoutError):  # a second delivery waits until somebody enables it
        await world.run_until_settled(fuse, lives=2)
    assert fuse.burnt is not None
    told = [one for one in world.told() if one["topic"] == DISABLED]
    assert len({one["id"] for one in told}) == 1, f"after a crash {moment} {fuse.burnt}"
    assert world.disabled.keys == [BROKEN]
