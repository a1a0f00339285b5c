"""The promise, one crash at a time: whichever call of whichever port is the last one of a process,
every event reaches every destination it matches, or lies in `dead`."""

import pytest

from tests.crash import Fuse, Moment
from tests.loop import World, destination, unavailable
from tests.virtual_time import run_virtually

EVENTS = ("e1", "e2", "e3")


def world() -> World:
    """One healthy destination, one that fails twice, one that never works."""
    made = World()
    made.directory.put(destination("healthy"), destination("flaky"), destination("broken"))
    made.receiver.answers = {
        "flaky": [unavailable("500"), unavailable("timeout")],
        "broken": [unavailable("503")] * 1000,
    }
    return made


async def run(at: int, moment: Moment) -> Fuse:
    fuse = Fuse(at, moment)
    here = world()
    await here.publish(*EVENTS)
    await here.run_until_settled(fuse, lives=2)
    received = here.receiver.received
    lost = [
        (to, event) for to in ("healthy", "flaky") for event in EVENTS if not received[to, event]
    ]
    assert not lost, f"lost after a crash {moment} {fuse.burnt}"
    reasons = {(to, event): reason for to, event, reason in here.dead()}
    assert reasons == {("broken", event): "retries_exhausted" for event in EVENTS}
    return fuse


async def without_a_crash() -> World:
    here = world()
    await here.publish(*EVENTS)
    await here.run_until_settled()
    return here


def test_without_a_crash_everything_is_delivered_once_or_dead() -> None:
    here = run_virtually(without_a_crash())
    assert set(here.receiver.received.values()) == {1}
    assert len(here.receiver.received) == 2 * len(EVENTS)
    assert sorted(here.dead()) == [("broken", event, "retries_exhausted") for event in EVENTS]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", range(1, 151))
def test_no_single_crash_loses_an_event(at: int, moment: Moment) -> None:
    fuse = run_virtually(run(at, moment))
    assert fuse.burnt is not None, f"the loop makes fewer than {at} calls: sweep fewer"
