from event_router.router.stream.batch import AT_ONCE, AT_ONCE_IN_TURNS, Batch
from event_router.schemas.record import Record


def record(offset: int, tenant: bytes = b"acme", to: bytes = b"d") -> Record:
    headers = [("ce_id", b"%d" % offset), ("ce_tenantid", tenant), ("ce_destinationid", to)]
    return Record("events", 0, offset, 1, None, b"{}", headers)


def offsets(batch: Batch) -> list[list[int]]:
    """Of each list that is taken, until there are none."""
    return [[one.offset for one in taken] for taken in iter(batch.take, [])]


def test_what_a_hop_takes_at_once_stays_in_order() -> None:
    batch = Batch([record(0), record(1, b"globex")])
    assert batch.add([record(2)])
    assert offsets(batch) == [[0, 1, 2]]


def test_all_of_a_burst_is_taken_once_and_in_lists_of_bounded_length() -> None:
    taken = offsets(Batch([record(number) for number in range(5 * AT_ONCE)]))
    assert [offset for one in taken for offset in one] == list(range(5 * AT_ONCE))
    assert {len(one) for one in taken} == {AT_ONCE_IN_TURNS}


def test_who_comes_behind_a_burst_is_in_the_next_list() -> None:
    batch = Batch([record(number) for number in range(10 * AT_ONCE)])
    batch.take()
    batch.add([record(-1, b"globex"), record(-2, to=b"another")])
    assert {-1, -2} < {one.offset for one in batch.take()}


def test_two_bursts_share_each_list_alike() -> None:
    batch = Batch(
        [record(number, b"acme" if number < 4_000 else b"globex") for number in range(8_000)]
    )
    tenants = [dict(one.headers)["ce_tenantid"] for one in batch.take()]
    assert tenants.count(b"acme") == tenants.count(b"globex") == AT_ONCE_IN_TURNS // 2


def test_more_flows_than_a_list_has_places_get_one_each_in_turn() -> None:
    count = 3 * AT_ONCE
    batch = Batch([record(number, b"%d" % (number % (count // 2))) for number in range(count)])
    first, second, third = batch.take(), batch.take(), batch.take()
    tenants = [one.headers[1][1] for one in (*first, *second, *third)]
    assert len(set(tenants)) == len(tenants) == 3 * AT_ONCE_IN_TURNS


def test_nothing_is_added_to_a_batch_that_was_found_empty() -> None:
    batch = Batch([record(0)])
    assert [len(batch.take()), len(batch.take())] == [1, 0]
    assert not batch.add([record(1)])
    assert batch.take() == []


def test_of_a_batch_that_was_withdrawn_nothing_is_taken() -> None:
    for count in (1, 2 * AT_ONCE):
        batch = Batch([record(number) for number in range(count)])
        if count > 1:
            batch.take()
        batch.withdraw()
        assert batch.take() == []
        assert not batch.add([record(0)])
