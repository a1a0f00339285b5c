"""Records that went missing before a role has read them: counted, and noted in `dead`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from event_router.consumers.gap import Gap
from event_router.consumers.ports import Producer
from event_router.router.clock import now_ms
from event_router.router.roles.role import Role
from event_router.schemas.attempt import Dead, DeadHead
from event_router.schemas.record import Place
from event_router.schemas.topics import Topics
from event_router.schemas.wire import dead_message

OnGap = Callable[[Gap], Awaitable[None]]

REASON = "offset_out_of_range"


@dataclass(slots=True)
class GapCounts:
    """Offsets at which a group stood and where there was nothing. Not one may go unnoticed."""

    out_of_range: int = 0


def note_gaps(role: Role, group: str, producer: Producer) -> OnGap:
    """What to call with each gap; it returns once Kafka has the note in `dead`."""
    counts = GapCounts()
    role.counts["offsets"] = counts

    async def note(gap: Gap) -> None:
        counts.out_of_range += 1
        await producer.send([dead_message(_note(gap, group, now_ms(), role.topics), role.topics)])

    return note


def _note(gap: Gap, group: str, at: int, topics: Topics) -> Dead:
    topic, number = gap.partition
    place = Place(topic, number, gap.wanted, at)
    detail = f"group {topics.group(group)}: {_story(gap)}"
    return Dead(DeadHead(REASON, detail, place, (), at), None, None)


def _story(gap: Gap) -> str:
    topic, number = gap.partition
    if gap.begin > gap.wanted:
        return (
            f"offsets {gap.wanted} to {gap.begin - 1} of {topic}/{number} were gone before they "
            f"were read (retention?); it reads on from {gap.begin}"
        )
    return (
        f"stood at offset {gap.wanted} of {topic}/{number}, which holds {gap.begin} up to "
        f"{gap.end} (recreated?); it reads on from {gap.begin}"
    )
