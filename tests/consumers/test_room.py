"""Who may start an attempt now: one bad destination harms nobody."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from event_router.consumers.ports import Backoff
from event_router.consumers.room import Room
from event_router.schemas.delivery import DestinationKey

A, B = DestinationKey("acme", "a"), DestinationKey("acme", "b")
NOW = 1_000_000


def filled(room: Room, key: DestinationKey, count: int, *, slow: bool = False) -> None:
    for _ in range(count):
        room.take(key, NOW)
        if slow:
            room.mark_slow(key)


def with_company(room: Room, key: DestinationKey) -> None:
    """Another destination has just had an attempt, and then this one."""
    trusted(room, DestinationKey("acme", "company"), key)


def trusted(room: Room, *keys: DestinationKey, took: int = 100) -> None:
    """Each has had an attempt that ended soon."""
    for key in keys:
        room.take(key, NOW)
        room.give(key, slow=False, took=took)


def test_a_trusted_destination_has_an_eighth_of_the_slots_and_a_new_one_half_of_that() -> None:
    room = Room(80)
    assert room.free(A, NOW) == 5
    trusted(room, A, B)
    assert room.free(A, NOW) == 10
    filled(room, A, 10)
    assert room.free(A, NOW) == 0
    assert room.free(B, NOW) == 10


def test_quick_answers_make_room_for_more_up_to_half_of_the_slots() -> None:
    room = Room(80)
    trusted(room, A, B)
    for _ in range(100):
        filled(room, A, room.free(A, NOW))
        room.give(A, slow=False, took=100)
    assert room.running[A] + room.free(A, NOW) == 40
    assert room.free(B, NOW) == 10


def test_who_answers_at_once_has_enough_with_an_eighth_of_its_share() -> None:
    room = Room(800)
    with_company(room, A)
    for _ in range(100):
        filled(room, A, room.free(A, NOW))
        room.give(A, slow=False, took=1)
    assert room.running[A] + room.free(A, NOW) == 12


def test_who_is_alone_may_have_more_than_enough() -> None:
    room = Room(800)
    trusted(room, B)
    trusted(room, A, took=1)
    assert room.free(A, NOW) == 12
    room.take(A, NOW + 2_999)
    assert room.free(A, NOW + 2_999) == 11
    assert room.free(A, NOW + 3_000) == 99


def test_company_of_long_ago_is_none() -> None:
    room = Room(800)
    room.take(B, NOW)
    room.take(A, NOW + 3_000)
    assert room.is_alone(A, NOW + 3_000)
    assert not room.is_alone(B, NOW + 3_000)


def test_a_quick_answer_among_others_is_not_held_against_it() -> None:
    room = Room(800)
    trusted(room, A)
    room.take(A, NOW)
    filled(room, A, room.free(A, NOW))
    room.give(A, slow=False, took=1)
    for _ in range(400):
        filled(room, A, room.free(A, NOW))
        room.give(A, slow=False, took=100)
    assert room.running[A] + room.free(A, NOW) == 400


def test_who_did_not_need_more_has_its_share_again() -> None:
    room = Room(80)
    trusted(room, A)
    filled(room, A, 10)
    for _ in range(10):
        room.give(A, slow=False, took=100)
    assert room.free(A, NOW) == 20
    trusted(room, A)
    assert room.free(A, NOW) == 10


def test_the_last_quarter_is_for_those_who_have_little() -> None:
    room = Room(80)
    keys = [DestinationKey("acme", f"busy{n}") for n in range(6)]
    trusted(room, A, *keys)
    for key in keys:
        filled(room, key, 10)
    assert room.free(keys[0], NOW) == 0
    assert room.free(A, NOW) == 1


def test_an_attempt_that_drags_on_ends_the_trust_until_one_ends_soon() -> None:
    room = Room(80)
    trusted(room, A)
    filled(room, A, 1, slow=True)
    assert room.free(A, NOW) == 4
    filled(room, A, 1)
    room.give(A, slow=False, took=100)
    assert room.free(A, NOW) == 4
    room.give(A, slow=True, took=600)
    assert room.free(A, NOW) == 5
    trusted(room, A)
    assert room.free(A, NOW) == 10


def test_a_small_room_has_one_slot_for_each() -> None:
    room = Room(2)
    assert room.free(A, NOW) == 1


def test_when_all_slots_are_taken_nobody_has_room() -> None:
    room = Room(8)
    for name in "abcdefgh":
        filled(room, DestinationKey("acme", name), 1)
    assert room.free(DestinationKey("acme", "z"), NOW) == 0


def test_the_same_id_of_another_tenant_is_another_destination() -> None:
    room = Room(8)
    filled(room, A, 1)
    assert room.free(A, NOW) == 0
    assert room.free(DestinationKey("other", "a"), NOW) == 1


def test_those_that_are_not_trusted_share_half_of_the_slots_alike() -> None:
    room = Room(80)
    trusted(room, B)
    slow = [DestinationKey("acme", f"slow{n}") for n in range(20)]
    for key in slow:
        filled(room, key, 2, slow=True)
    assert room.free(slow[0], NOW) == 0
    assert room.free(A, NOW) == 1
    assert room.free(B, NOW) == 10
    room.give(slow[0], slow=True, took=600)
    assert room.free(slow[0], NOW) == 1


def test_a_new_destination_may_show_what_it_is_while_others_hang() -> None:
    room = Room(16)
    for n in range(13):
        filled(room, DestinationKey("acme", f"slow{n}"), 1, slow=True)
    assert room.free(A, NOW) == 1
    filled(room, A, 1)
    assert room.free(B, NOW) == 0


def test_an_open_circuit_has_no_room_and_then_room_for_one_probe() -> None:
    room = Room(80)
    until = room.failed(A, NOW, 30_000)
    assert until == NOW + 30_000
    assert room.free(A, until - 1) == 0
    assert room.free(A, until) == 1
    room.take(A, NOW)
    assert room.free(A, until) == 0
    assert room.free(B, NOW) > 1


def test_the_success_of_the_probe_closes_the_circuit() -> None:
    room = Room(80)
    until = room.failed(A, NOW, 30_000)
    room.succeeded(A, until)
    assert room.free(A, until) > 1
    assert room.backoffs == {}


def test_a_success_while_it_is_open_takes_no_retry_after_back() -> None:
    room = Room(80)
    until = room.failed(A, NOW, 30_000)
    room.succeeded(A, NOW + 1)
    assert room.free(A, NOW + 2) == 0
    assert room.free(A, until) == 1


def test_a_clock_that_is_set_back_leaves_no_circuit_open_until_it_is_as_late_again() -> None:
    room = Room(80)
    for after in (0, 1, 2, 3, 5_000):
        room.failed(A, NOW + 3_600_000 + after, None)
    assert room.is_shut(A, NOW + 3_605_000)
    assert not room.is_shut(A, NOW)
    assert room.free(A, NOW) == 1
    room.succeeded(A, NOW)
    assert room.backoffs == {}


def test_a_success_ends_the_row_of_failures() -> None:
    room = Room(80)
    for _ in range(4):
        assert room.failed(A, NOW, None) == 0
    room.succeeded(A, NOW + 1)
    assert room.failed(A, NOW + 10_000, None) == 0
    assert room.backoffs[A] == Backoff(1, NOW + 10_000, 0)


def test_failures_in_a_row_open_the_circuit() -> None:
    room = Room(80)
    for _ in range(4):
        room.failed(A, NOW, None)
    assert room.failed(A, NOW + 5_000, None) == NOW + 6_000
    assert room.failed(A, NOW + 6_000, None) == NOW + 7_200


def test_at_one_that_fails_soon_several_probes_may_fail_before_it_is_open_again() -> None:
    room = Room(80)
    trusted(room, A)
    until = [room.failed(A, NOW + after, None) for after in (0, 1, 2, 3, 5_000)][-1]
    assert room.free(A, until) == 10
    assert [room.failed(A, until, None) for _ in range(11)] == [0] * 11
    assert room.free(A, until) == 1
    assert room.failed(A, until, None) > until


def test_a_probe_that_is_told_when_to_come_back_is_the_last_one() -> None:
    room = Room(80)
    trusted(room, A)
    until = [room.failed(A, NOW + after, None) for after in (0, 1, 2, 3, 5_000)][-1]
    assert room.failed(A, until, 30_000) == until + 30_000


class Model(RuleBasedStateMachine):
    """The counts are those of a plain list of attempts, whatever begins, drags on and ends."""

    keys = st.sampled_from([DestinationKey("acme", name) for name in "abc"])

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(10)
        self.attempts: list[tuple[DestinationKey, bool]] = []
        self.now = NOW

    @rule(key=keys)
    def start(self, key: DestinationKey) -> None:
        if self.room.free(key, self.now):
            self.room.take(key, self.now)
            self.attempts.append((key, False))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def drag_on(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.attempts) - 1))
        key, slow = self.attempts[index]
        if not slow:
            self.room.mark_slow(key)
            self.attempts[index] = (key, True)

    @precondition(lambda self: self.attempts)
    @rule(
        data=st.data(),
        took=st.integers(0, 400),
        well=st.booleans(),
        retry_after=st.none() | st.integers(0, 90_000),
    )
    def end(self, data: st.DataObject, took: int, well: bool, retry_after: int | None) -> None:
        key, slow = self.attempts.pop(data.draw(st.integers(0, len(self.attempts) - 1)))
        self.room.give(key, slow=slow, took=took)
        if well:
            self.room.succeeded(key, self.now)
        else:
            self.room.failed(key, self.now, retry_after)

    @rule(pause=st.integers(0, 120_000))
    def wait(self, pause: int) -> None:
        self.now += pause

    @invariant()
    def counts_are_right(self) -> None:
        for key in [DestinationKey("acme", name) for name in "abc"]:
            running = sum(one == key for one, _ in self.attempts)
            assert self.room.running.get(key, 0) == running
            assert self.room.slow.get(key, 0) == sum(
                slow for one, slow in self.attempts if one == key
            )
            free = self.room.free(key, self.now)
            assert 0 <= free <= 10 - len(self.attempts)
            assert free <= max(5 - running, 0)
        assert self.room.taken == len(self.attempts) <= 10
        doubtful = [one for one, _ in self.attempts if one not in self.room.trusted]
        assert self.room.doubtful == Counter(doubtful)
        assert self.room.doubtful_taken == len(doubtful)

    @invariant()
    def nothing_is_left_of_what_ended(self) -> None:
        if not self.attempts:
            assert (self.room.running, self.room.slow) == ({}, {})
            assert self.room.filled == set()

    @invariant()
    def every_circuit_has_an_end(self) -> None:
        for key in self.room.backoffs:
            if not any(one == key for one, _ in self.attempts) and len(self.attempts) < 5:
                assert self.room.free(key, self.now + 60_000) > 0


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_while_others_wait_to_be_read_a_trusted_one_has_little() -> None:
    room = Room(800)
    trusted(room, A)
    assert room.free(A, NOW) == 100
    room.hurry = True
    assert room.free(A, NOW) == 12
    filled(room, A, 12)
    assert room.free(A, NOW) == 0
