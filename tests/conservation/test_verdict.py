"""The harness itself: what it would say if something were lost."""

from collections.abc import Callable

import pytest

from tests.conservation.events import destinations, issue
from tests.conservation.ledger import Ledger, Pair, Taken
from tests.conservation.logged import Logged
from tests.conservation.verdict import Struck, problems, repeats

SEED = 7
EVENTS = 60


def conserved() -> tuple[Ledger, Logged]:
    """A run in which everything that was owed was delivered, or died of what it had to."""
    ledger, logged = Ledger(SEED, destinations()), Logged()
    for _ in range(EVENTS):
        event = ledger.issue()
        event_id = event.event_id or f"made-{event.number}"
        ledger.accept(event, event_id)
        logged.ids[event.number].add(event_id)
        logged.bodies[event.number].add(event.body)
    for pair, event, to in ledger.events_of(list(ledger.owed)):
        if to.kind == "well":
            ledger.take(pair.to, pair.number, next(iter(logged.ids[pair.number])))
            logged.states[pair].append("delivered")
        else:
            logged.dead[pair].update(to.reasons(event))
            logged.states[pair].append("dead")
    return ledger, logged


def some_pair(ledger: Ledger) -> Pair:
    return min(ledger.taken)


def test_a_run_that_lost_nothing_has_no_problems() -> None:
    ledger, logged = conserved()
    assert problems(ledger, logged) == []
    assert not ledger.outstanding - logged.dead.keys()


def lose(ledger: Ledger, logged: Logged) -> None:
    pair = some_pair(ledger)
    del ledger.taken[pair], logged.states[pair]


def lose_rubbish(ledger: Ledger, logged: Logged) -> None:
    ledger.rubbish.add("events:000:0000000000001")


def die_for_nothing(ledger: Ledger, logged: Logged) -> None:
    logged.dead[some_pair(ledger)].add("too_old")


def stay_unsettled(ledger: Ledger, logged: Logged) -> None:
    logged.states[some_pair(ledger)].append("queued")


def lie_about_a_delivery(ledger: Ledger, logged: Logged) -> None:
    del ledger.taken[some_pair(ledger)]


def forget_a_delivery(ledger: Ledger, logged: Logged) -> None:
    del logged.states[some_pair(ledger)]


def forget_an_event(ledger: Ledger, logged: Logged) -> None:
    del logged.ids[some_pair(ledger).number]


def change_the_content(ledger: Ledger, logged: Logged) -> None:
    logged.bodies[some_pair(ledger).number].add(b"{}")


def rename(ledger: Ledger, logged: Logged) -> None:
    ledger.taken[some_pair(ledger)].append(Taken(0.0, "another-id"))


def deliver_what_was_changed(ledger: Ledger, logged: Logged) -> None:
    pair = some_pair(ledger)
    ledger.check(pair.to, "e", issue(SEED, pair.number).body.replace(b"  ", b" ", 1))


def deliver_what_nobody_issued(ledger: Ledger, logged: Logged) -> None:
    ledger.check(some_pair(ledger).to, "e", issue(SEED, EVENTS).body)


def deliver_to_somebody_else(ledger: Ledger, logged: Logged) -> None:
    pair = some_pair(ledger)
    event = ledger.issued[pair.number]
    other = next(one for one in ledger.destinations if not one.wants(event))
    ledger.check(other.key, event.event_id or "e", event.body)


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (lose, "lost: "),
        (lose_rubbish, "lost: what can't be read"),
        (die_for_nothing, "dead for a wrong reason"),
        (stay_unsettled, "unsettled in the log"),
        (lie_about_a_delivery, "never taken"),
        (forget_a_delivery, "taken, but in the log: "),
        (forget_an_event, "the log has no event"),
        (change_the_content, "with other content"),
        (rename, "under several ids"),
        (deliver_what_was_changed, "has other content"),
        (deliver_what_nobody_issued, "was never issued"),
        (deliver_to_somebody_else, "doesn't belong here"),
    ],
)
def test_every_kind_of_mistake_is_found(
    mistake: Callable[[Ledger, Logged], None], told: str
) -> None:
    ledger, logged = conserved()
    mistake(ledger, logged)
    assert told in "\n".join(problems(ledger, logged))


def gave_up_though_it_was_taken(ledger: Ledger, logged: Logged, reason: str) -> Pair:
    """An event that is not to be retried, at a destination that took it."""
    pair = next(
        pair
        for pair, event, to in ledger.events_of(ledger.owed)
        if to.kind == "well" and not event.retry
    )
    ledger.take(pair.to, pair.number, next(iter(logged.ids[pair.number])))
    logged.states[pair] = ["dead"]
    logged.dead[pair] = {reason}
    return pair


def test_who_takes_it_and_answers_too_late_has_it_although_it_is_dead() -> None:
    ledger, logged = conserved()
    pair = gave_up_though_it_was_taken(ledger, logged, "not_eligible_for_retry")
    assert "taken, but in the log" in "\n".join(problems(ledger, logged))
    logged.late.add(pair)
    assert problems(ledger, logged) == []


def test_a_late_answer_is_no_reason_to_die_of_something_else() -> None:
    ledger, logged = conserved()
    logged.late.add(gave_up_though_it_was_taken(ledger, logged, "retries_exhausted"))
    assert "dead for a wrong reason" in "\n".join(problems(ledger, logged))


@pytest.mark.parametrize(
    ("at", "copies", "kind"), [(100, 1, "kill"), (900, 1, "other"), (900, 2, "published")]
)
def test_what_is_taken_twice_is_told_apart(at: float, copies: int, kind: str) -> None:
    ledger, logged = conserved()
    pair = some_pair(ledger)
    ledger.taken[pair] = [Taken(at, "e"), Taken(at + 5, "e")]
    logged.states[pair] *= copies
    found = repeats(ledger, logged, [Struck("kill_deliver", True, 101.0, 104.0)])
    counts = {
        "kill": found.around_kills["kill_deliver"],
        "other": len(found.other),
        "published": found.published,
    }
    assert counts == {**dict.fromkeys(counts, 0), kind: 1}
