"""What travels from a poll to the hop: records of one topic, together.

Who publishes much makes its own events wait, not those of others: when more is there than a hop
takes at once, flows take turns. A flow is what one tenant publishes of one event topic, or to one
destination, as far as a record's headers say; all records without such headers are one flow.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from event_router.schemas.record import Record

AT_ONCE = 2000
AT_ONCE_IN_TURNS = 500
"""Fewer, so that who comes meanwhile has its turn soon."""

Flow = tuple[bytes | None, ...]

_FLOW = frozenset({"ce_tenantid", "ce_type", "ce_destinationid"})


class Batch:
    """Records of one or more polls. It grows until it is found empty, so what was queued meanwhile
    is handled together."""

    __slots__ = ("_closed", "_flows", "_records")

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = list(records)
        self._flows: dict[Flow, deque[Record]] = {}
        self._closed = False

    def add(self, records: Sequence[Record]) -> bool:
        """False when nobody takes of it any more: these records need a batch of their own."""
        if not self._closed:
            self._records.extend(records)
        return not self._closed

    def take(self) -> Sequence[Record]:
        """The next ones, each once; none when all were taken, or withdrawn, and from then on."""
        if self._flows or len(self._records) > AT_ONCE:
            self._sort()
            return self._in_turns()
        taken, self._records = self._records, []
        self._closed = not taken
        return taken

    def withdraw(self) -> None:
        """Nothing is taken any more."""
        self._records = []
        self._flows.clear()
        self._closed = True

    def _sort(self) -> None:
        for record in self._records:
            self._flows.setdefault(flow_of(record), deque()).append(record)
        self._records = []

    def _in_turns(self) -> list[Record]:
        taken: list[Record] = []
        while self._flows and len(taken) < AT_ONCE_IN_TURNS:
            left = AT_ONCE_IN_TURNS - len(taken)
            share = max(left // len(self._flows), 1)
            for flow in list(islice(self._flows, left)):
                waiting = self._flows.pop(flow)
                taken += [waiting.popleft() for _ in range(min(share, len(waiting)))]
                if waiting:
                    self._flows[flow] = waiting  # behind the others
        return taken


def flow_of(record: Record) -> Flow:
    return tuple([value for name, value in record.headers if name in _FLOW])
