"""What travels from a poll to the hop: records of one topic, together."""

from collections.abc import Sequence

from event_router.schemas.record import Record

LARGEST_BATCH = 2000


class Batch:
    """Records of one topic, of one or more polls, on their way to the hop.

    It grows until it is taken, so what was queued meanwhile is handled together.
    """

    __slots__ = ("_records", "_taken")

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = list(records)
        self._taken = False

    def add(self, records: Sequence[Record]) -> bool:
        """False when it is taken or full: these records need a batch of their own."""
        if self._taken or len(self._records) + len(records) > LARGEST_BATCH:
            return False
        self._records.extend(records)
        return True

    def take(self) -> Sequence[Record]:
        """All of them, once; none when the batch was withdrawn."""
        self._taken = True
        records, self._records = self._records, []
        return records

    withdraw = take
