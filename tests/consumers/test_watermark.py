from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from event_router.consumers.commits import CommitDelay
from event_router.consumers.watermark import Watermark, Watermarks
from event_router.schemas.record import Record


def record(offset: int, partition: int = 0) -> Record:
    return Record("t", partition, offset, 0, None, b"", ())


def records(*offsets: int) -> list[Record]:
    return [record(offset) for offset in offsets]


def test_before_anything_is_read_there_is_nothing_to_commit() -> None:
    mark = Watermark[Record]()
    assert mark.position is None
    assert mark.span == 0


def test_the_position_is_the_lowest_unfinished_offset() -> None:
    mark = Watermark[Record]()
    first, second, third = records(10, 11, 12)
    mark.read([first, second, third])
    mark.done([third, second])
    assert (mark.position, mark.span, mark.unfinished) == (10, 3, 1)
    mark.done([first])
    assert (mark.position, mark.span, mark.unfinished) == (13, 0, 0)


def test_gaps_in_the_offsets_hold_nothing_back() -> None:
    mark = Watermark[Record]()
    first, second = records(3, 90)
    mark.read([first])
    mark.read([second])
    mark.done([first])
    assert mark.position == 90
    mark.done([second])
    mark.skip_to(95)
    assert mark.position == 95


def test_skipping_never_goes_back_nor_past_what_is_unfinished() -> None:
    mark = Watermark[Record]()
    mark.read(records(5))
    mark.skip_to(2)
    mark.skip_to(9)
    assert mark.position == 5


def test_a_lower_offset_than_one_read_before_begins_anew() -> None:
    mark = Watermark[Record]()
    assert mark.read(records(100, 101)) is False
    assert mark.read(records(0, 1)) is True
    assert (mark.position, mark.unfinished) == (0, 2)


def test_a_record_of_the_former_topic_finishes_none_of_the_new_one() -> None:
    mark = Watermark[Record]()
    old, new = records(0, 0)
    mark.read([old])
    mark.read([new])
    assert mark.done([old]) == 0
    assert mark.position == 0


def test_a_record_done_twice_counts_once() -> None:
    mark = Watermark[Record]()
    batch = records(0, 1)
    mark.read(batch)
    assert mark.done(batch) == 2
    assert mark.done(batch) == 0


def test_a_record_read_before_the_partition_was_lost_holds_nothing_of_the_next_time() -> None:
    marks = Watermarks[Record]()
    marks.assign([("t", 0)])
    before, after = records(7, 7)
    marks.read(("t", 0), [before])
    marks.revoke([("t", 0)])
    marks.assign([("t", 0)])
    marks.read(("t", 0), [after])
    assert marks.done([before]) == 0
    assert marks.to_commit() == {("t", 0): 7}


def test_records_of_a_partition_that_is_not_assigned_are_not_tracked() -> None:
    marks = Watermarks[Record]()
    marks.read(("t", 0), records(7))
    assert marks.done(records(7)) == 0
    assert marks.to_commit() == {}


def test_only_what_moved_since_the_last_commit_is_committed_again() -> None:
    marks = Watermarks[Record]()
    marks.assign([("t", 0), ("t", 1)])
    batch = [record(0, 0), record(0, 1), record(1, 0)]
    marks.read(("t", 0), [batch[0], batch[2]])
    marks.read(("t", 1), [batch[1]])
    assert marks.done(batch) == 3
    assert marks.to_commit() == {("t", 0): 2, ("t", 1): 1}
    marks.committed({("t", 0): 2})
    assert marks.to_commit() == {("t", 1): 1}


def test_a_recreated_topic_is_committed_even_at_the_position_that_was_committed() -> None:
    marks = Watermarks[Record]()
    marks.assign([("t", 0)])
    marks.read(("t", 0), records(0))
    marks.committed({("t", 0): 0})
    assert marks.read(("t", 0), records(0)) is True
    assert marks.to_commit() == {("t", 0): 0}


def test_a_window_wider_than_the_span_is_named_until_it_closes() -> None:
    marks = Watermarks[Record]()
    marks.assign([("t", 0)])
    batch = records(0, 999)
    marks.read(("t", 0), batch)
    assert marks.wider_than(1001) == set()
    assert marks.wider_than(1000) == {("t", 0)}
    marks.done(batch[:1])
    assert marks.wider_than(1000) == set()


def reassigned(marks: Watermarks[Record]) -> None:
    marks.revoke([("t", 0)])
    marks.assign([("t", 0)])


def test_what_was_done_and_could_not_be_committed_is_known_when_it_comes_again() -> None:
    marks = Watermarks[Record]()
    marks.assign([("t", 0)])
    before = records(0, 1, 2, 3)
    marks.read(("t", 0), before)
    marks.done([before[0], before[2], before[3]])
    marks.committed({("t", 0): 1})
    reassigned(marks)
    again = records(1, 2, 3, 4)
    marks.read(("t", 0), again)
    assert marks.to_do(("t", 0), again) == [again[0], again[3]]
    assert marks.to_commit() == {("t", 0): 1}
    marks.done([again[0]])
    assert marks.to_commit() == {("t", 0): 4}


def test_it_is_known_after_several_assignments_and_however_little_was_read_in_between() -> None:
    marks = Watermarks[Record]()
    marks.assign([("t", 0)])
    before = records(0, 1, 2)
    marks.read(("t", 0), before)
    marks.done(before)
    reassigned(marks)
    marks.read(("t", 0), records(0))
    reassigned(marks)
    again = records(0, 1, 2)
    marks.read(("t", 0), again)
    assert marks.to_do(("t", 0), again) == []


def test_what_another_one_had_done_is_known_to_whoever_has_the_partition_next() -> None:
    former, latter = Watermarks[Record](), Watermarks[Record]()
    former.assign([("t", 0), ("t", 1)])
    before = records(0, 1, 2)
    former.read(("t", 0), before)
    former.done([before[0], before[2]])
    former.revoke([("t", 0), ("t", 1)])
    left = former.uncommitted([("t", 0), ("t", 1)])
    assert left == {("t", 0): {0: 0, 2: 0}}
    latter.assign([("t", 0), ("t", 1)], left)
    again = records(0, 1, 2, 3)
    latter.read(("t", 0), again)
    assert latter.to_do(("t", 0), again) == [again[1], again[3]]
    assert latter.to_commit() == {("t", 0): 1}


def test_what_was_committed_is_not_known_any_more() -> None:
    marks = Watermarks[Record]()
    marks.assign([("t", 0)])
    before = records(0, 1)
    marks.read(("t", 0), before)
    marks.done(before)
    marks.committed({("t", 0): 2})
    reassigned(marks)
    again = records(0, 1)
    marks.read(("t", 0), again)
    assert marks.to_do(("t", 0), again) == again


def test_a_recreated_topic_is_told_by_its_timestamps_and_nothing_of_it_counts_as_done() -> None:
    marks = Watermarks[Record]()
    marks.assign([("t", 0)])
    before = records(0, 1)
    marks.read(("t", 0), before)
    marks.done(before)
    reassigned(marks)
    other = [Record("t", 0, offset, 5, None, b"", ()) for offset in (0, 1)]
    marks.read(("t", 0), other)
    assert marks.to_do(("t", 0), other) == other
    assert marks.to_commit() == {("t", 0): 0}


def test_a_commit_is_late_from_its_first_try_until_it_is_taken() -> None:
    delay = CommitDelay()
    assert not delay.is_long(100.0)
    delay.begin(100.0)
    delay.begin(100.5)
    assert not delay.is_long(100.9)
    assert delay.is_long(101.0)
    delay.end()
    assert not delay.is_long(200.0)


class Model(RuleBasedStateMachine):
    """The same as a sorted list of unfinished offsets would say."""

    def __init__(self) -> None:
        super().__init__()
        self.mark = Watermark[Record]()
        self.unfinished: list[Record] = []
        self.finished: list[Record] = []
        self.next: int | None = None

    @rule(gaps=st.lists(st.integers(1, 5), max_size=6))
    def read(self, gaps: list[int]) -> None:
        batch = []
        for gap in gaps:
            offset = gap if self.next is None else self.next + gap - 1
            batch.append(record(offset))
            self.next = offset + 1
        self.mark.read(batch)
        self.unfinished += batch

    @rule(offset=st.integers(0, 3))
    def recreate(self, offset: int) -> None:
        if self.next is not None and offset < self.next:
            batch = records(offset)
            assert self.mark.read(batch)
            self.finished += self.unfinished
            self.unfinished, self.next = batch, offset + 1

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if self.unfinished:
            done = data.draw(st.lists(st.sampled_from(self.unfinished), unique_by=id))
            assert self.mark.done(done) == len(done)
            self.unfinished = [r for r in self.unfinished if not any(r is d for d in done)]
            self.finished += done

    @rule(data=st.data())
    def finish_again(self, data: st.DataObject) -> None:
        if self.finished:
            assert self.mark.done([data.draw(st.sampled_from(self.finished))]) == 0

    @invariant()
    def agrees(self) -> None:
        lowest = min((r.offset for r in self.unfinished), default=self.next)
        assert self.mark.position == lowest
        assert self.mark.unfinished == len(self.unfinished)
        if self.next is not None and lowest is not None:
            assert self.mark.span == self.next - lowest


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.permutations(range(40)))
def test_any_order_of_finishing_ends_after_the_last(order: list[int]) -> None:
    mark = Watermark[Record]()
    batch = records(*range(40))
    mark.read(batch)
    seen = []
    for index in order:
        mark.done([batch[index]])
        seen.append(mark.position)
    assert seen == sorted(seen, key=lambda position: position or 0)
    assert mark.position == 40
