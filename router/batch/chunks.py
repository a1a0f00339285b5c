"""A chunk of rows on its way into the topic.

drop what lies there already → look for ids → produce → remember the ids. As with a publish over
HTTP, a crash anywhere in between neither loses a row nor doubles one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from event_router.consumers.ports import Duplicates, Producer, Sighting
from event_router.router.batch.row_events import RowEvent
from event_router.router.batch.rows import BadRow
from event_router.router.batch.source import Read
from event_router.router.decisions.sighting import content_hash, judge, same_content, sighting
from event_router.router.store.job_ports import Remark
from event_router.schemas.decode import DEFAULT_SOURCE
from event_router.schemas.errors import TooLarge, Unavailable
from event_router.schemas.record import Place

log = logging.getLogger(__name__)

_NOWHERE = Place("", 0, 0, 0)
_Ask = Callable[[Sequence[Sighting]], Awaitable[list[bytes | None]]]


class Numbered(msgspec.Struct, frozen=True, gc=False):
    """An event and the number of its row in its file."""

    row: int
    event: RowEvent
    content: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of a chunk. `ends` says where its records end, by partition."""

    file: str
    rows: int
    accepted: list[Numbered] = field(default_factory=list)
    duplicates: int = 0
    refusals: list[Remark] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=dict)

    def refuse(self, row: int, reason: str) -> None:
        self.refusals.append(Remark(self.file, row, reason))

    def lies_at(self, place: Place) -> None:
        self.ends[place.partition] = max(self.ends.get(place.partition, 0), place.offset + 1)


def fingerprint(event_id: bytes | None, data: bytes | None) -> int:
    """Of an id and what was published under it: equal for equal ones, within one process."""
    return hash((event_id, data))


@dataclass(slots=True)
class Chunks:
    """Publishes the chunks of one job. Rows in `lying` lie in the topic already: they count as
    accepted. With `chosen_ids` people chose the ids, and chunks must come one after another.
    `patience` (s) is what Redis has."""

    tenant: str
    topic: str
    producer: Producer
    duplicates: Duplicates
    chosen_ids: bool
    lying: set[int] = field(default_factory=set)
    patience: float = 2.0

    async def publish(self, chunk: Read) -> Outcome:
        """On return Kafka has acknowledged every row that is accepted."""
        outcome = Outcome(chunk.file, len(chunk.events))
        new: list[Numbered] = []
        for row, event in enumerate(chunk.events, chunk.first):
            if isinstance(event, BadRow):
                outcome.refuse(row, event.reason)
            elif self.lying and _print_of(event) in self.lying:
                outcome.accepted.append(Numbered(row, event))
            else:
                new.append(Numbered(row, event))
        if self.chosen_ids:
            new = await self._unknown(new, outcome)
        placed = await self._produce(new, outcome)
        if self.chosen_ids:
            placed = await self._remember(placed, outcome)
        outcome.accepted += [one for one, _ in placed]
        return outcome

    async def _unknown(self, rows: list[Numbered], outcome: Outcome) -> list[Numbered]:
        """Those whose ids nobody has used yet, with a hash of their content."""
        hashed = [msgspec.structs.replace(one, content=self._content(one.event)) for one in rows]
        before = await self._ask(
            self.duplicates.look, [self._sighting(one, _NOWHERE) for one in hashed]
        )
        seen: dict[str, bytes] = {}
        unknown = []
        for one, known in zip(hashed, before, strict=True):
            earlier = known or seen.get(one.event.id)
            if earlier is None:
                seen[one.event.id] = self._sighting(one, _NOWHERE).value
                unknown.append(one)
            elif same_content(earlier, one.content):
                outcome.duplicates += 1
            else:
                outcome.refuse(one.row, _conflict(one.event.id))
        return unknown

    async def _produce(
        self, rows: list[Numbered], outcome: Outcome
    ) -> list[tuple[Numbered, Place]]:
        if not rows:
            return []
        sent = await self.producer.send([one.event.message for one in rows])
        placed = []
        for one, result in zip(rows, sent, strict=True):
            if isinstance(result, TooLarge):
                outcome.refuse(one.row, str(result))
            else:
                outcome.lies_at(result)
                placed.append((one, result))
        return placed

    async def _remember(
        self, placed: list[tuple[Numbered, Place]], outcome: Outcome
    ) -> list[tuple[Numbered, Place]]:
        """Their ids stand for them, unless somebody was quicker: then route drops ours as a
        duplicate, or gives it up as a conflict, and so it is told."""
        marks = [self._sighting(one, place) for one, place in placed]
        ours = []
        before = await self._ask(self.duplicates.claim, marks)
        for pair, mark, known in zip(placed, marks, before, strict=True):
            verdict = judge(mark, known)
            if verdict == "new":
                ours.append(pair)
            elif verdict == "duplicate":
                outcome.duplicates += 1
            else:
                outcome.refuse(pair[0].row, _conflict(pair[0].event.id))
        return ours

    async def _ask(self, ask: _Ask, marks: list[Sighting]) -> list[bytes | None]:
        """Without Redis nothing is known of any id, and route looks again."""
        if not marks:
            return []
        try:
            async with asyncio.timeout(self.patience):
                return await ask(marks)
        except (Unavailable, TimeoutError):
            log.warning("batch.not_deduplicated", extra={"rows": len(marks)})
            return [None] * len(marks)

    def _sighting(self, one: Numbered, place: Place) -> Sighting:
        return sighting(self.tenant, DEFAULT_SOURCE, one.event.id, place, one.content)

    def _content(self, event: RowEvent) -> str:
        return content_hash(self.topic, None, {}, event.message.value or b"")


def _print_of(event: RowEvent) -> int:
    return fingerprint(event.id.encode(), event.message.value)


def _conflict(event_id: str) -> str:
    return f"the id {event_id} was used with other content: to change an event, use update_event"
