"""What becomes of the others while destinations hang, in simulated time."""

import pytest

from event_router.schemas.delivery import DestinationKey
from tests.rooms import Simulation

EACH = 100 / 560 * 1000
"""ms between two deliveries of one of 100 destinations, at 560 deliveries a second."""
ANSWERS = 5
LASTS = 60_000


def named(kind: str, count: int) -> set[DestinationKey]:
    return {DestinationKey("acme", f"{kind}{number}") for number in range(count)}


def p99_of_the_rest(slots: int, bad: int, *, backlog: int = 0, hang_from: int = 0) -> float:
    """While `bad` of 100 hang from some time on, with as many deliveries waiting for each."""
    healthy, hanging = named("healthy", 100 - bad), named("hanging", bad)
    simulation = Simulation(
        slots,
        {key: lambda _: ANSWERS for key in healthy}
        | {key: lambda began: None if began >= hang_from else ANSWERS for key in hanging},
    )
    for key in sorted(healthy | hanging):
        simulation.publish(key, EACH, LASTS)
    for key in sorted(hanging):
        for _ in range(backlog):
            simulation.at(hang_from, lambda key=key: simulation.arrive(key))  # type: ignore[misc]  # mypy can't infer it
    simulation.run(LASTS + 1_000)
    delivered = sum(len(simulation.waits[key]) for key in healthy)
    assert delivered == pytest.approx(len(healthy) * LASTS / EACH, rel=0.05)
    return simulation.p99(healthy)


@pytest.mark.parametrize(
    ("slots", "bad"), [(500, 1), (500, 4), (500, 20), (500, 60), (20, 1), (20, 4)]
)
@pytest.mark.parametrize("backlog", [0, 500])
def test_destinations_that_hang_make_nobody_wait(slots: int, bad: int, backlog: int) -> None:
    assert p99_of_the_rest(slots, bad, backlog=backlog) <= ANSWERS * 1.2


@pytest.mark.parametrize(("slots", "bad"), [(500, 4), (500, 20), (20, 4)])
@pytest.mark.parametrize("backlog", [0, 500])
def test_nor_do_those_that_were_trusted_until_then(slots: int, bad: int, backlog: int) -> None:
    p99 = p99_of_the_rest(slots, bad, backlog=backlog, hang_from=5_000)
    assert p99 <= ANSWERS * 1.2


def rate_of_one_alone(answers: int, backlog: int = 20_000, slots: int = 500) -> float:
    """Deliveries a second while a destination has a backlog and nobody else waits."""
    (alone,) = named("alone", 1)
    simulation = Simulation(slots, {alone: lambda _: answers})
    for _ in range(backlog):
        simulation.arrive(alone)
    simulation.run(4_000)
    return simulation.ended[alone] / 4


def test_one_alone_has_as_many_slots_as_it_can_use() -> None:
    assert rate_of_one_alone(answers=100) > 1_500


def test_a_fast_one_alone_is_not_held_back_by_its_share() -> None:
    assert rate_of_one_alone(answers=5) > 1_900


def test_one_that_answers_late_still_gets_its_slots() -> None:
    assert rate_of_one_alone(answers=2_000) >= 15


def test_a_crowd_of_late_ones_shares_half_of_the_slots_alike() -> None:
    late = named("late", 20)
    simulation = Simulation(100, dict.fromkeys(late, lambda _: 1_000))
    for key in sorted(late):
        simulation.publish(key, each=50, until=30_000)
    simulation.run(30_000)
    ended = [simulation.ended[key] for key in late]
    assert sum(ended) >= 20 * 30
    assert max(ended) <= 3 * min(ended)


@pytest.mark.parametrize("delays", [(2_000, 2_000), (5_000, 30_000, 120_000), (30_000, 30_000)])
def test_who_takes_what_comes_for_the_third_time_gets_all_of_it(delays: tuple[int, ...]) -> None:
    """And doesn't fall behind for ever, because first attempts are all that is let through."""
    (fussy,) = named("fussy", 1)
    simulation = Simulation(500, {fussy: lambda _: ANSWERS}, failures=2, delays=delays)
    simulation.publish(fussy, each=100, until=600_000)
    simulation.run(600_000)
    waiting = simulation.waiting(fussy)
    assert waiting <= 10 * (sum(delays[:2]) // 1_000 + 5)
    assert len(simulation.waits[fussy]) >= 5_000


def test_who_is_away_for_long_is_asked_less_and_less() -> None:
    (away,) = named("away", 1)
    simulation = Simulation(500, {away: lambda _: 1}, failures=10**9, delays=[5_000] * 10_000)
    simulation.publish(away, each=1_000, until=7_200_000)
    simulation.run(3_600_000)
    before = simulation.ended[away]
    simulation.run(4_200_000)
    assert simulation.ended[away] - before <= 2 * 600
    simulation.failures = 0
    simulation.run(4_265_000)
    assert simulation.waits[away]


def test_who_is_away_is_asked_seldom_and_back_soon() -> None:
    (away,) = named("away", 1)
    simulation = Simulation(500, {away: lambda _: 1}, failures=10**9, delays=[5_000] * 100)
    simulation.publish(away, each=10, until=300_000)
    simulation.run(300_000)
    assert simulation.ended[away] <= 15 * 300
    simulation.failures = 0
    simulation.run(312_000)
    assert simulation.waits[away]
