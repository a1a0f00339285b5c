from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from event_router.router.store.log import SqlLog
from event_router.router.store.log_ports import (
    AttemptFilter,
    Counts,
    DeadFilter,
    DeadKey,
    EventFilter,
    Log,
    TimeRange,
)
from event_router.router.store.memory_log import MemoryLog
from event_router.router.store.migrate import migrate
from event_router.router.store.paging import Paging
from event_router.schemas.attempt import Dead
from event_router.schemas.delivery import Delivery, DestinationKey
from event_router.schemas.errors import InvalidValue
from event_router.schemas.record import Record
from event_router.schemas.wire import read_dead
from tests.store.history import START, History, next_attempt, write

FAR = 1 << 50


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    log: Log
    if request.param == "memory":
        log = MemoryLog()
    else:
        url = f"sqlite:///{tmp_path}/log.sqlite"
        if request.param == "postgresql":
            url = request.getfixturevalue("postgres_url")
        migrate(url, "log")
        log = SqlLog(url)
    yield log
    await log.aclose()


async def event_ids(log: Log, **wanted: object) -> list[str]:
    page = await log.events(msgspec.convert(wanted, EventFilter), Paging())
    return [event.id for event in page.models]


async def attempt_ids(log: Log, **wanted: object) -> list[str]:
    page = await log.attempts(msgspec.convert(wanted, AttemptFilter), Paging())
    return [attempt.id for attempt in page.models]


async def test_an_event_comes_back_as_it_was_published(log: Log, history: History) -> None:
    event = history.event(metadata={"ö": "1"}, data=b'{"a": 1.10,\t"\xc3\xa4": null}', retry=False)
    await write(log, history.records)
    found = await log.event("e1")

    assert found is not None
    assert (found.tenant, found.id, found.origin) == ("acme", "e1", event.origin)
    assert (found.topic, found.source, found.time, found.at) == (
        "order.created",
        "shop",
        event.time,
        START,
    )
    assert (found.data, found.metadata, found.retry) == (event.data, {"ö": "1"}, False)
    assert (found.content_type, found.destinations) == ("application/json", ())
    assert (await log.events(EventFilter(), Paging())).models == [found]


async def test_tenants_with_an_event_of_an_id_are_known(log: Log, history: History) -> None:
    for tenant in ("b", "a", "b"):
        history.event("e1", tenant=tenant)
    history.event("e2", tenant="c")
    history.routed(history.event("e1", tenant="d"), "duplicate")
    await write(log, history.records)
    assert await log.tenants_with("e1") == ["a", "b"]
    assert await log.tenants_with("e3") == []


async def test_an_event_names_the_destinations_it_has_deliveries_to(
    log: Log, history: History
) -> None:
    event = history.event()
    history.delivery(event, "d2")
    history.delivery(event, "d1")
    history.delivery(event, "d1", 1)
    history.delivery(history.event("e2"), "d3")
    await write(log, history.records)
    found = await log.event("e1", "acme")
    assert found is not None
    assert found.destinations == ("d1", "d2")


async def test_events_that_match_nothing_are_shown_and_duplicates_are_not(
    log: Log, history: History
) -> None:
    history.routed(history.event("alone"), "no_match")
    history.event("twice", data=b"1")
    history.routed(history.event("twice", data=b"2"), "duplicate")
    history.routed(history.event("other"), "id_conflict")
    await write(log, history.records)
    assert await event_ids(log) == ["twice", "alone"]
    found = await log.event("twice")
    assert found is not None
    assert found.data == b"1"
    assert await log.event("other") is None


async def test_an_id_used_again_is_another_event_and_the_newest_is_found(
    log: Log, history: History
) -> None:
    for data in (b"1", b"2"):
        history.delivery(history.event(data=data), "d" + data.decode())
    await write(log, history.records)
    page = await log.events(EventFilter(ids=("e1",)), Paging())
    assert [(event.data, event.destinations) for event in page.models] == [
        (b"2", ("d2",)),
        (b"1", ("d1",)),
    ]
    found = await log.event("e1")
    assert found == page.models[0]


async def test_two_tenants_may_use_the_same_event_id(log: Log, history: History) -> None:
    history.event(tenant="a")
    history.event(tenant="b")
    await write(log, history.records)
    for tenant in ("a", "b"):
        found = await log.event("e1", tenant)
        assert found is not None
        assert found.tenant == tenant
    assert await log.event("e1", "c") is None


async def test_events_are_filtered(log: Log, history: History) -> None:
    history.delivery(history.event("e1", "a", "t1"), "d1")
    history.delivery(history.event("e2", "a", "t2"), "d2")
    e3 = history.event("e3", "b", "t1")
    history.delivery(e3, "d1")
    history.delivery(e3, "d2")
    await write(log, history.records)

    assert await event_ids(log) == ["e3", "e2", "e1"]
    assert await event_ids(log, ids=["e1", "e3", "e9"]) == ["e3", "e1"]
    assert await event_ids(log, tenants=["a"]) == ["e2", "e1"]
    assert await event_ids(log, tenants=["a", "b"], topics=["t1"]) == ["e3", "e1"]
    assert await event_ids(log, destinations=["d2"]) == ["e3", "e2"]
    assert await event_ids(log, destinations=["d2", "d1"], tenants=["b"]) == ["e3"]
    assert await event_ids(log, time=TimeRange(gte=START + 2)) == ["e3", "e2"]
    assert await event_ids(log, time=TimeRange(gt=START + 2)) == ["e3"]
    assert await event_ids(log, time=TimeRange(lte=START + 2)) == ["e2", "e1"]
    assert await event_ids(log, time=TimeRange(lt=START + 2, gte=START)) == ["e1"]


async def test_events_are_paged_there_and_back(log: Log, history: History) -> None:
    for index in range(7):
        history.now = START + index // 3
        history.event(f"e{index}")
    await write(log, history.records)
    for descending in (True, False):
        everything = EventFilter()
        whole = (await log.events(everything, Paging(descending=descending))).models
        assert len(whole) == 7
        first = await log.events(everything, Paging(3, descending))
        second = await log.events(everything, Paging(3, descending, next=first.next))
        third = await log.events(everything, Paging(3, descending, next=second.next))
        assert first.models + second.models + third.models == whole
        assert (first.prev, third.next) == (None, None)
        back = await log.events(everything, Paging(3, descending, prev=third.prev))
        assert back.models == second.models
        start = await log.events(everything, Paging(3, descending, prev=back.prev))
        assert (start.models, start.prev) == (first.models, None)


async def test_a_cursor_of_another_list_is_an_invalid_value(log: Log, history: History) -> None:
    for _ in range(2):
        history.dead_record()
    await write(log, history.records)
    cursor = (await log.dead(DeadFilter(), Paging(1))).next
    assert cursor is not None
    with pytest.raises(InvalidValue, match="next"):
        await log.events(EventFilter(), Paging(next=cursor))


async def test_an_attempt_comes_back_as_it_was_made(log: Log, history: History) -> None:
    delivery = history.delivery(history.event(), "d1", 2, manual=True)
    head = history.attempt(delivery, "failed", "a1", body="ö" * 10, retry_after=4000)
    await write(log, history.records)
    found = await log.attempt("a1")

    assert found is not None
    for name in (
        "id",
        "destination_type",
        "outcome",
        "code",
        "status",
        "body",
        "started",
        "latency",
    ):
        assert getattr(found, name) == getattr(head, name)
    assert (found.tenant, found.event_id, found.destination) == ("acme", "e1", "d1")
    assert (found.round, found.attempt, found.manual) == (2, 1, True)
    assert found.topic == "order.created"
    assert found.event is None
    assert await log.attempt("a1", "other") is None
    assert await log.attempt("a2") is None


async def test_an_attempt_brings_its_event_when_asked(log: Log, history: History) -> None:
    history.attempt(history.delivery(history.event()), id_="a1")
    await write(log, history.records)
    found = await log.attempt("a1", "acme", with_event=True)
    assert found is not None
    assert found.event == await log.event("e1")
    page = await log.attempts(AttemptFilter(), Paging(), with_events=True)
    assert page.models == [found]


async def test_attempts_are_filtered_and_paged(log: Log, history: History) -> None:
    one = history.delivery(history.event("e1", "a", "t1"), "d1")
    two = history.delivery(history.event("e2", "b", "t2"), "d2")
    history.now = START + 100
    history.attempt(one, "failed", "a1")
    history.attempt(two, "rejected", "a2", destination_type="kafka")
    history.attempt(next_attempt(one), "delivered", "a3")
    await write(log, history.records)

    assert await attempt_ids(log) == ["a3", "a2", "a1"]
    assert await attempt_ids(log, tenants=["a"]) == ["a3", "a1"]
    assert await attempt_ids(log, tenants=["a"], destinations=["d1"]) == ["a3", "a1"]
    assert await attempt_ids(log, tenants=["a"], destinations=["d2"]) == []
    assert await attempt_ids(log, events=["e2"]) == ["a2"]
    assert await attempt_ids(log, destination_types=["kafka"]) == ["a2"]
    assert await attempt_ids(log, topics=["t1"]) == ["a3", "a1"]
    assert await attempt_ids(log, status="success") == ["a3"]
    assert await attempt_ids(log, status="failed") == ["a2", "a1"]
    assert await attempt_ids(log, time=TimeRange(gt=START + 100, lt=START + 102)) == ["a2"]
    first = await log.attempts(AttemptFilter(), Paging(2, descending=False))
    assert [attempt.id for attempt in first.models] == ["a1", "a2"]
    rest = await log.attempts(AttemptFilter(), Paging(2, descending=False, next=first.next))
    assert [attempt.id for attempt in rest.models] == ["a3"]


async def test_the_last_delivery_is_that_of_the_highest_round(log: Log, history: History) -> None:
    event = history.event(metadata={"k": "v"})
    first = history.delivery(event)
    history.attempt(first, "failed")
    history.dead(first)
    manual = history.delivery(event, "d1", 1, manual=True)
    history.attempt(next_attempt(manual), "failed")
    await write(log, history.records)

    logged = await log.event("e1")
    assert logged is not None
    found = await log.last_delivery(logged, "d1")
    assert found is not None
    assert found.head == next_attempt(manual).head
    assert (found.data, found.state) == (event.data, "failed")
    assert await log.last_delivery(logged, "d2") is None


async def test_deliveries_are_counted_by_state(log: Log, history: History) -> None:
    assert await log.counts() == Counts(0, 0, 0, 0)
    event = history.event()
    history.delivery(event, "waiting")
    for outcome in ("failed", "rejected", "delivered"):
        history.attempt(history.delivery(event, outcome), outcome)
    given_up = history.delivery(event, "dead")
    history.attempt(given_up, "failed")
    for record in history.records:
        await write(log, [record])
    assert await log.counts() == Counts(1, 3, 0, 1)
    history.dead(given_up)
    for _ in range(2):
        await write(log, history.records)
        assert await log.counts() == Counts(1, 2, 1, 1)


async def test_a_delivered_replay_settles_the_rounds_below_it(log: Log, history: History) -> None:
    event = history.event()
    history.attempt(history.delivery(event), "failed")
    manual = history.delivery(event, "d1", 1, manual=True)
    await write(log, history.records)
    assert await log.counts() == Counts(1, 1, 0, 0)
    assert len(await log.unsettled(FAR, 10)) == 2
    history.attempt(manual)
    history.delivery(event, "d1", 2)
    await write(log, history.records)
    assert await log.counts() == Counts(1, 0, 0, 1)
    assert [one.ref.round for one in await log.unsettled(FAR, 10)] == [2]


async def test_what_is_unsettled_comes_with_all_that_parking_it_takes(
    log: Log, history: History
) -> None:
    event = history.event(metadata={"k": "v"}, data=b'{"x":1}')
    delivery = history.delivery(event, "d1")
    head = history.attempt(delivery, "failed", retry_after=5000)
    history.attempt(history.delivery(event, "d2"))
    await write(log, history.records)

    (found,) = await log.unsettled(FAR, 10)
    assert (found.head, found.data, found.state) == (delivery.head, event.data, "failed")
    assert found.last_attempt == head
    assert found.ref.next_at == head.started + 12 + 5000
    sent, tried = history.records[1], history.records[2]
    assert found.delivery_place == (sent.partition, sent.offset, sent.timestamp)
    assert found.attempt_place == (tried.partition, tried.offset, tried.timestamp)


async def test_what_has_no_attempt_yet_is_unsettled_too(log: Log, history: History) -> None:
    history.delivery(history.event())
    await write(log, history.records)
    (found,) = await log.unsettled(FAR, 10)
    assert (found.state, found.last_attempt, found.attempt_place) == ("queued", None, None)


async def test_the_unsettled_are_read_in_order_of_their_time(log: Log, history: History) -> None:
    event = history.event()
    for index in range(5):
        history.delivery(event, f"d{index}")
    await write(log, history.records)
    first = await log.unsettled(FAR, 2)
    second = await log.unsettled(FAR, 2, first[-1].ref)
    third = await log.unsettled(FAR, 2, second[-1].ref)
    names = [one.ref.destination for one in (*first, *second, *third)]
    assert names == ["d0", "d1", "d2", "d3", "d4"]
    early = await log.unsettled(first[-1].ref.next_at, 10)
    assert early == first[:1]


async def test_the_unsettled_of_one_destination_and_of_all_but_some(
    log: Log, history: History
) -> None:
    for tenant in ("acme", "other"):
        event = history.event(f"of-{tenant}", tenant=tenant)
        for name in ("d1", "d2"):
            history.delivery(event, name)
    await write(log, history.records)
    one, other = DestinationKey("acme", "d1"), DestinationKey("other", "d1")
    found = await log.unsettled(FAR, 10, only=one)
    assert [row.head.key for row in found] == [one]
    assert await log.unsettled(FAR, 10, found[-1].ref, only=one) == []
    rest = await log.unsettled(FAR, 10, without={one, other})
    assert [row.head.key.destination for row in rest] == ["d2", "d2"]


async def test_thousands_of_destinations_can_be_left_out(log: Log, history: History) -> None:
    event = history.event()
    for name in ("d1", "d2"):
        history.delivery(event, name)
    await write(log, history.records)
    without = {DestinationKey("acme", f"full{n}") for n in range(3_000)}
    without.add(DestinationKey("acme", "d1"))
    rest = await log.unsettled(FAR, 10, without=without)
    assert [row.head.key.destination for row in rest] == ["d2"]


async def test_a_page_is_full_though_events_are_not_logged_yet(log: Log, history: History) -> None:
    """They are passed over: a short page means that there is no more."""
    for number in range(4):
        history.delivery(history.event(f"e{number}"))
    first_event = history.records[0]
    await write(log, [record for record in history.records if record is not first_event])
    found = await log.unsettled(FAR, 3)
    assert [row.head.event for row in found] == ["e1", "e2", "e3"]


async def test_each_unsettled_round_comes_with_its_own_last_attempt(
    log: Log, history: History
) -> None:
    event = history.event()
    for name in ("d1", "d2"):
        for round_ in (0, 1):
            delivery = history.delivery(event, name, round_)
            for number in (2, 1, 3):
                again = msgspec.structs.replace(delivery.head, attempt=number)
                history.attempt(Delivery(again, event.data), "failed", f"{name}-{round_}-{number}")
    history.delivery(event, "d3")
    await write(log, history.records)
    found = {row.ref[2:]: row.last_attempt for row in await log.unsettled(FAR, 10)}
    last = {key: one.id if one else None for key, one in found.items()}
    assert last == {
        ("d1", 0): "d1-0-3",
        ("d1", 1): "d1-1-3",
        ("d2", 0): "d2-0-3",
        ("d2", 1): "d2-1-3",
        ("d3", 0): None,
    }


async def test_a_row_that_moved_is_not_still_unsettled(log: Log, history: History) -> None:
    event = history.event()
    delivery = history.delivery(event, "d1")
    history.delivery(event, "d2")
    await write(log, history.records)
    seen = await log.unsettled(FAR, 10)
    assert await log.still_unsettled(seen) == seen
    history.deliver(delivery)
    await write(log, history.records[-1:])
    assert [one.ref.destination for one in await log.still_unsettled(seen)] == ["d2"]


async def test_the_dead_are_listed_and_come_back_whole(log: Log, history: History) -> None:
    bad = history.dead_record()
    delivery = history.delivery(history.event())
    history.attempt(delivery, "failed")
    history.dead(delivery, "too_old")
    await write(log, history.records)

    listed = (await log.dead(DeadFilter(), Paging())).models
    assert [one.reason for one in listed] == ["too_old", "invalid_json"]
    assert (listed[0].tenant, listed[0].event, listed[0].round) == ("acme", "e1", 0)
    assert listed[1].destination == ""
    for one, record in zip(
        reversed(listed), (history.records[0], history.records[-1]), strict=True
    ):
        assert await log.dead_record(one.place, one.destination) == read_dead(record)
    found = await log.dead_record(listed[1].place, "")
    assert isinstance(found, Dead)
    assert found.head.place == bad
    assert await log.dead_record("nowhere:0:0:0", "") is None
    for wanted in (
        DeadFilter(tenants=("acme",)),
        DeadFilter(events=("e1",)),
        DeadFilter(destinations=("d1",)),
        DeadFilter(reasons=("too_old",)),
        DeadFilter(time=TimeRange(gt=START)),
    ):
        assert (await log.dead(wanted, Paging())).models == listed[:1]


async def test_one_at_a_time_claims_a_replay_and_always_as_the_same_round(log: Log) -> None:
    a, b = DeadKey("attempts:0:1:1", "d1"), DeadKey("attempts:0:2:1", "d1")
    assert await log.claim_replays({a: 1}, 100, 200) == {a: 1}
    assert await log.claim_replays({a: 2, b: 3}, 199, 299) == {b: 3}
    assert await log.claim_replays({a: 2}, 200, 300) == {a: 1}
    await log.release_replays([a])
    assert await log.claim_replays({a: 4}, 201, 300) == {a: 1}
    await log.mark_replayed([a], 205)
    assert await log.claim_replays({a: 4, b: 4}, 1_000, 2_000) == {b: 3}
    assert await log.claim_replays({}, 1_000, 2_000) == {}


async def test_what_was_replayed_stays_so_when_dead_is_read_again(
    log: Log, history: History
) -> None:
    history.dead_record()
    history.dead(history.delivery(history.event()))
    await write(log, history.records)
    [delivery, record] = (await log.dead(DeadFilter(), Paging())).models
    assert record.replayed_at is None

    await log.mark_replayed([record.key], 5)
    await log.mark_replayed([record.key], 6)
    await log.mark_replayed([], 7)
    await write(log, history.records)

    [replayed] = (await log.dead(DeadFilter(replayed=True), Paging())).models
    assert (replayed.key, replayed.replayed_at) == (record.key, 5)
    assert (await log.dead(DeadFilter(replayed=False), Paging())).models == [delivery]
    assert (await log.dead(DeadFilter(places=(record.place,)), Paging())).models == [replayed]
    assert len((await log.dead(DeadFilter(), Paging())).models) == 2


async def test_the_last_round_of_a_delivery_is_known(log: Log, history: History) -> None:
    event = history.event()
    history.delivery(event, "d1")
    history.delivery(event, "d1", 3)
    history.delivery(event, "d2")
    await write(log, history.records)
    assert await log.last_round(event.origin, "d1") == 3
    assert await log.last_round(event.origin, "d2") == 0
    assert await log.last_round(event.origin, "d3") is None


async def test_what_is_settled_and_old_goes_with_all_that_belongs_to_it(
    log: Log, history: History
) -> None:
    done = history.event("done")
    history.attempt(history.delivery(done, "d1"), id_="a1")
    history.routed(history.event("alone"), "no_match")
    history.dead_record()
    open_ = history.event("open")
    history.attempt(history.delivery(open_, "d1"), id_="a2")
    history.delivery(open_, "d2")
    history.now += 10_000
    history.attempt(history.delivery(history.event("new")), id_="a3")
    await write(log, history.records)

    assert await log.prune(START + 5_000, 1) == 1
    assert await log.prune(START + 5_000, 100) == 1
    assert await log.prune(START + 5_000, 100) == 0
    assert await event_ids(log) == ["new", "open"]
    assert await attempt_ids(log) == ["a3", "a2"]
    assert (await log.dead(DeadFilter(), Paging())).models == []
    assert await log.counts() == Counts(1, 0, 0, 2)


async def test_all_of_a_tenant_is_purged_a_little_at_a_time_and_nothing_of_others(
    log: Log, history: History
) -> None:
    for tenant in ("acme", "other"):
        for n in range(3):
            delivery = history.delivery(history.event(f"e{n}", tenant), "d1")
            history.attempt(delivery, "failed", f"{tenant}-{n}")
        history.dead(delivery)
        history.routed(history.event("alone", tenant), "no_match")
    history.dead_record()
    await write(log, history.records)
    page = await log.dead(DeadFilter(), Paging())
    await log.mark_replayed([record.key for record in page.models], 5)

    assert [await log.purge("acme", 3) for _ in range(4)] == [3, 1, 1, 0]
    assert await event_ids(log) == ["alone", "e2", "e1", "e0"]
    assert await attempt_ids(log) == ["other-2", "other-1", "other-0"]
    left = (await log.dead(DeadFilter(replayed=True), Paging())).models
    assert {record.tenant for record in left} == {"other", None}
    assert await log.counts() == Counts(0, 2, 1, 0)
    assert await log.purge("nobody", 3) == 0


async def test_what_is_written_after_its_event_was_purged_is_purged_too(
    log: Log, history: History
) -> None:
    event = history.event()
    await write(log, history.records)
    assert await log.purge("acme", 10) == 1
    history.records.clear()
    history.routed(event, "duplicate")
    for destination in ("d1", "d2"):
        history.attempt(history.delivery(event, destination), "failed")
    await write(log, history.records)
    assert [await log.purge("acme", 1) for _ in range(3)] == [3, 2, 0]
    assert await attempt_ids(log) == []
    assert await log.counts() == Counts(0, 0, 0, 0)


async def test_what_was_purged_and_comes_again_was_not_replayed(log: Log, history: History) -> None:
    history.dead(history.delivery(history.event()))
    await write(log, history.records)
    [record] = (await log.dead(DeadFilter(), Paging())).models
    await log.mark_replayed([record.key], 5)
    while await log.purge("acme", 10):
        pass
    await write(log, history.records)
    [record] = (await log.dead(DeadFilter(), Paging())).models
    assert record.replayed_at is None


async def test_an_event_dated_long_ago_is_kept_from_when_it_was_received(
    log: Log, history: History
) -> None:
    history.event(time="1999-01-01T00:00:00Z")
    await write(log, history.records)
    assert await log.prune(START, 100) == 0
    assert await event_ids(log) == ["e1"]


async def test_text_with_nul_and_odd_characters_is_kept(log: Log, history: History) -> None:
    event = history.event("\\N \U0001f600", metadata={"k": "\\."}, data=b"\x00\xff")
    history.attempt(history.delivery(event), "failed", "a1", body="ö\0\\.\n\t")
    history.event("good")
    await write(log, history.records)
    page = await log.events(EventFilter(topics=("order.created",)), Paging())
    assert [one.data for one in page.models] == [b'{"n":  1}', b"\x00\xff"]
    assert page.models[1].metadata == {"k": "\\."}
    assert page.models[1].destinations == ("d1",)
    attempt = await log.attempt("a1")
    assert attempt is not None
    assert attempt.body.replace("\ufffd", "\0") == "ö\0\\.\n\t"


async def test_what_cannot_be_read_is_counted_and_left_out(log: Log, history: History) -> None:
    history.event()
    topics = ("events", "deliveries", "attempts", "dead")
    bad = [Record(topic, 0, 99, START, None, b"{", ()) for topic in topics]
    writer = await write(log, [*bad, *history.records])
    assert (writer.counts.records, writer.counts.undecodable) == (5, 4)
    assert await event_ids(log) == ["e1"]


async def test_writing_nothing_is_fine(log: Log) -> None:
    await write(log, [])
    assert await event_ids(log) == []


async def test_the_updates_of_an_event_come_in_the_order_of_their_times(log: Log) -> None:
    history = History()
    history.event("e1")
    for id_, tenant, of in (
        ("u1", "acme", "e1"),
        ("u2", "acme", "e1"),
        ("u3", "other", "e1"),
        ("u4", "acme", "e2"),
    ):
        history.event(id_, tenant, updates=of)
    await write(log, history.records)
    found = await log.updates_of("e1", "acme", 10)
    assert [(one.id, one.updates) for one in found] == [("u1", "e1"), ("u2", "e1")]
    assert [one.id for one in await log.updates_of("e1", "acme", 1)] == ["u2"]
    assert await log.updates_of("u1", "acme", 10) == []
    original = await log.event("e1")
    assert original is not None
    assert original.updates is None
