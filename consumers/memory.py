"""Kafka in memory, for tests: topics of records in bytes, groups with committed offsets."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from event_router.schemas.errors import TooLarge
from event_router.schemas.record import Message, Place, Record, place_of


@dataclass(slots=True)
class MemoryBroker:
    """Implements the ports Producer and Offsets, and hands records to groups until they are done.

    `clock` gives ms since the epoch. Topics come into being when they are written to.
    """

    clock: Callable[[], int]
    partitions: int = 4
    max_message_bytes: int = 1 << 20
    logs: dict[tuple[str, int], list[Record]] = field(default_factory=lambda: defaultdict(list))
    finished: dict[str, set[tuple[str, int, int]]] = field(default_factory=lambda: defaultdict(set))

    async def send(
        self,
        messages: Sequence[Message],
        deadline: float | None = None,  # noqa: ARG002  memory is never late
    ) -> list[Place | TooLarge]:
        return [self._append(message) for message in messages]

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _append(self, message: Message) -> Place | TooLarge:
        if len(message.value or b"") > self.max_message_bytes:
            return TooLarge(f"{len(message.value or b'')} bytes")
        partition = message.partition
        if partition is None:
            partition = crc32(message.key or b"") % self.partitions
        log = self.logs[message.topic, partition]
        headers = tuple(
            (name, None if value is None else bytes(value)) for name, value in message.headers
        )
        record = Record(
            message.topic, partition, len(log), self.clock(), message.key, message.value, headers
        )
        log.append(record)
        return place_of(record)

    def records(self, topic: str) -> list[Record]:
        return [record for (name, _), log in self.logs.items() if name == topic for record in log]

    async def ends(self, topic: str) -> dict[tuple[str, int], int]:
        return {(topic, number): len(self.logs[topic, number]) for number in range(self.partitions)}

    async def done(self, group: str, topic: str) -> dict[tuple[str, int], int]:
        """As a group commits: up to the lowest unfinished offset."""
        done = await self.ends(topic)
        for record in self.unfinished(group, topic):
            place = (topic, record.partition)
            done[place] = min(done[place], record.offset)
        return done

    def unfinished(self, group: str, topic: str) -> list[Record]:
        """What a member of the group that begins anew would read."""
        finished = self.finished[group]
        return [
            record
            for record in self.records(topic)
            if (record.topic, record.partition, record.offset) not in finished
        ]

    def finish(self, group: str, records: Sequence[Record]) -> None:
        self.finished[group].update((one.topic, one.partition, one.offset) for one in records)
