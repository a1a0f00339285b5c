"""How far groups have come with their topics, as sweep asks it. Pure, but for the port."""

from typing import NamedTuple, Protocol

from event_router.consumers.watermark import Partition


class Offsets(Protocol):
    """What lies in Kafka and how far groups have come. Raises Unavailable."""

    async def ends(self, topic: str) -> dict[Partition, int]:
        """The end of each partition."""
        ...

    async def done(self, group: str, topic: str) -> dict[Partition, int]:
        """What the group has before it in each partition: its commit, or the earliest record."""
        ...


class Progress(NamedTuple):
    """How far a group has come with a topic, by partition, and the topic's ends right after."""

    done: dict[Partition, int]
    ends: dict[Partition, int]


def progress_of(done: dict[Partition, int], ends: dict[Partition, int]) -> Progress:
    """Without commits past the end: they were made to a topic that isn't there any more. `ends`
    were read after `done`."""
    usable = {partition: at for partition, at in done.items() if at <= ends.get(partition, 0)}
    return Progress(usable, ends)


def passed(place: tuple[int, int, int] | None, topic: str, progress: Progress) -> bool:
    """Whether the group has the record at `place` behind it, which was known before `progress`.
    One at or past the end of its partition lay in a topic that isn't there any more."""
    if place is None:
        return True
    number, offset, _ = place
    partition = (topic, number)
    return offset >= progress.ends.get(partition, 0) or progress.done.get(partition, 0) > offset


def reached(ends: dict[Partition, int], done: dict[Partition, int]) -> bool:
    return all(done.get(partition, 0) >= end for partition, end in ends.items())


def shrunk(then: dict[Partition, int], now: dict[Partition, int]) -> bool:
    return any(now.get(partition, 0) < end for partition, end in then.items())
