"""How much one worker may do, and how much it has done."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Seconds, and counts. After `drags_after` an attempt tells against its destination, after
    `slow_after` it moves into the schedule's keeping. `flush_pause` gathers attempts for one
    write: it delays retries and the log by that much, never a delivery. `claim_ahead` deliveries
    are claimed beyond the slots of one that answers quickly, and `claim_ahead_alone` lie ready for
    one that is alone; while more than `parking` are on their way into the schedule, nothing is
    read. With a `long_list` of deliveries that were written more than `late` ago, the worker is
    late. `max_age` is for what waits for a paused destination; elsewhere what follows an attempt
    decides."""

    slots: int = 500
    drags_after: float = 0.5
    slow_after: float = 1.0
    lease: float = 15.0
    keep_every: float = 0.25
    poll_every: float = 0.25
    flush_pause: float = 0.03
    flush_at: int = 200
    unreported: int = 5_000
    claim_bytes: int = 4 << 20
    claim_ahead: int = 200
    claim_ahead_alone: int = 600
    parking: int = 4_000
    long_list: int = 500
    late: float = 1.3
    seen_per_shard: int = 8
    max_age: float = math.inf
    aged_at_once: int = 50


@dataclass(slots=True)
class DeliveryCounts:
    """What this process has attempted since it started. `schedule_full` deliveries had no room in
    the schedule, and wait in the log."""

    delivered: int = 0
    failed: int = 0
    rejected: int = 0
    held: int = 0
    claimed: int = 0
    schedule_full: int = 0
    undecodable: int = 0
