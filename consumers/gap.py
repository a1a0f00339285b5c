"""Records that went missing before they were read: retention took them, or the topic is new."""

import logging
from dataclasses import dataclass

from event_router.consumers.watermark import Partition

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gap:
    """A group stood at `wanted`, but the partition now holds `begin` up to, without, `end`."""

    partition: Partition
    wanted: int
    begin: int
    end: int


def log_gap(gap: Gap) -> None:
    topic, number = gap.partition
    place = {"topic": topic, "partition": number, "wanted": gap.wanted}
    log.error("offset.out_of_range", extra={**place, "begin": gap.begin, "end": gap.end})
