"""What the stream does with records that a newer release wrote."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from event_router.consumers.health import Health
from event_router.consumers.newer_records import NewerRecords
from event_router.router.stream.app import _finish
from event_router.schemas.errors import UnknownVersion
from event_router.schemas.record import Record


async def test_of_a_list_that_waits_whole_nothing_is_finished() -> None:
    async def hop(_: Sequence[Record]) -> None:
        raise UnknownVersion(9, ("attempts", 0, 7))

    finished: list[Sequence[Record]] = []
    consumer: Any = SimpleNamespace(finished=finished.append)
    records = [Record("attempts", 0, offset, 1, None, b"", ()) for offset in (7, 8)]
    await _finish(consumer, "attempts", hop, records, Health(), NewerRecords(Health()))
    assert finished == []
