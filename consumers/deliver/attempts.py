"""Attempts while they run: a task each, in a slot of the room."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from event_router.consumers.deliver.limits import DeliveryCounts
from event_router.consumers.open_sinks import OpenSinks
from event_router.consumers.ports import Lease
from event_router.consumers.room import Room
from event_router.schemas.attempt import BODY_KEPT, Attempt, AttemptHead, Outcome
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, Rejected, Unavailable
from event_router.schemas.ids import new_id
from event_router.schemas.record import Record

log = logging.getLogger(__name__)

_LONGEST_WAIT = 1e10  # seconds: three centuries
_ANSWER: dict[str, Any] = {"code": str, "status": int | None, "body": bytes}


@dataclass(slots=True, eq=False)
class Job:
    """One attempt, until it is `reported`: acknowledged by Kafka. `record` until its offset is
    done; `lease` when the schedule keeps it. `began` is monotonic, `started` in ms; `looks` counts
    how often it was seen running."""

    delivery: Delivery
    record: Record | None
    lease: Lease | None
    started: int
    began: float
    renewed: float
    looks: int = 0
    slow: bool = False
    reported: bool = False
    task: asyncio.Task[None] | None = None
    attempt: Attempt | None = None


@dataclass(slots=True)
class Attempts:
    """`ended` is called with each job that came to its end, its `attempt` set; not with one that
    was cancelled. Older than `max_age` seconds, nothing is sent to a destination that is paused.
    `group` is there while the worker runs."""

    sinks: OpenSinks
    room: Room
    counts: DeliveryCounts
    clock: Callable[[], int]
    monotonic: Callable[[], float]
    max_age: float
    ended: Callable[[Job], None]
    running: set[Job] = field(default_factory=set)
    group: asyncio.TaskGroup | None = None

    def start(
        self,
        delivery: Delivery,
        destination: Destination | None,
        *,
        record: Record | None = None,
        lease: Lease | None = None,
    ) -> None:
        """Takes a slot; whether there is one the caller has looked. None is a destination that
        was deleted."""
        began = self.monotonic()
        job = Job(delivery, record, lease, self.clock(), began, began)
        self.room.take(delivery.head.key, job.started)
        if destination is not None:
            self.room.rates.take(delivery.head.key, job.started)
        self.running.add(job)
        assert self.group is not None, "attempts start while run() runs"  # noqa: S101
        job.task = self.group.create_task(
            self._attempt(job, destination), name=f"attempt {delivery.head.destination}"
        )

    def mark_slow(self, after: int) -> None:
        """Those that are seen running for more than `after` times tell against their destinations.
        Time wouldn't do: while this process stands still, answers wait to be read."""
        for job in self.running:
            job.looks += 1
            if not job.slow and job.looks > after:
                job.slow = True
                self.room.mark_slow(job.delivery.head.key)

    async def wait(self, jobs: Iterable[Job], seconds: float) -> list[Job]:
        """Those that still run after so many seconds."""
        tasks = {job.task: job for job in jobs if job.task}
        if not tasks:
            return []
        _, late = await asyncio.wait(tasks, timeout=seconds)
        return [tasks[task] for task in late]

    async def cancel(self, jobs: Collection[Job]) -> None:
        """On return none of them runs."""
        tasks = [job.task for job in jobs if job.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def is_too_old(self, head: DeliveryHead) -> bool:
        """To wait any longer for a paused destination."""
        return self.clock() - head.began > self.max_age * 1000

    def _refusal(self, head: DeliveryHead, destination: Destination | None) -> str:
        """Why nothing is to be sent, '' when something is."""
        if destination is None:
            return "destination_deleted"
        if not destination.is_paused or not self.is_too_old(head):
            return ""
        return "destination_unreadable" if destination.unreadable else "too_old"

    async def _attempt(self, job: Job, destination: Destination | None) -> None:
        head = job.delivery.head
        try:
            outcome, answer, retry_after = await self._ask(job.delivery, destination)
        except (Exception, asyncio.CancelledError) as mistake:
            if isinstance(mistake, asyncio.CancelledError) and _is_told_to_end(job):
                raise
            # A mistake in a sink, maybe a user's own: this delivery fails, the others go on.
            log.exception("sink.broken", extra={"destination": head.destination})
            outcome, answer, retry_after = "failed", Answer("sink_error"), None
        finally:
            self.running.discard(job)
            took = round((self.monotonic() - job.began) * 1000)
            self.room.give(head.key, slow=job.slow, took=took)
        kind = destination.type if destination else ""
        self._end(job, self._attempt_head(job, kind, outcome, answer, retry_after))

    async def _ask(
        self, delivery: Delivery, destination: Destination | None
    ) -> tuple[Outcome, Answer, int | None]:
        """What became of it, and the `retry_after` (ms) of a failure."""
        refusal = self._refusal(delivery.head, destination)
        if destination is None or refusal:
            return "rejected", Answer(refusal), None
        try:
            async with self.sinks.lend(destination) as sink:
                return "delivered", _sound(await sink.deliver(delivery)), None
        except Rejected as trouble:
            return "rejected", _sound(trouble.answer), None
        except Unavailable as trouble:
            return "failed", _sound(trouble.answer), _milliseconds(trouble.retry_after)

    def _end(self, job: Job, head: AttemptHead) -> None:
        job.attempt = Attempt(head, b"" if head.outcome == "delivered" else job.delivery.data)
        key = head.delivery.key
        if head.outcome == "delivered":
            self.counts.delivered += 1
            self.room.succeeded(key, self.clock())
        elif head.outcome == "failed":
            self.counts.failed += 1
            self.room.failed(key, self.clock(), head.retry_after)
        else:
            self.counts.rejected += 1
        log.debug("delivery.attempted", extra=_shown(head))
        self.ended(job)

    def _attempt_head(
        self, job: Job, kind: str, outcome: Outcome, answer: Answer, retry_after: int | None
    ) -> AttemptHead:
        return AttemptHead(
            id=new_id(),
            delivery=job.delivery.head,
            destination_type=kind,
            outcome=outcome,
            code=answer.code,
            started=job.started,
            latency=round((self.monotonic() - job.began) * 1000, 3),
            status=answer.status,
            body=answer.body[:BODY_KEPT].decode(errors="replace"),
            retry_after=retry_after,
        )


def _is_told_to_end(job: Job) -> bool:
    """Whether we cancelled it; a sink whose client was cancelled looks the same otherwise."""
    return job.task is not None and job.task.cancelling() > 0


def _sound(answer: object) -> Answer:
    """Raises TypeError for what can't be reported."""
    if isinstance(answer, Answer) and all(
        isinstance(getattr(answer, name), kind) for name, kind in _ANSWER.items()
    ):
        return answer
    raise TypeError("a sink answers with an Answer: code a str, status an int, body bytes")


def _milliseconds(retry_after: float | None) -> int | None:
    """What a sink says, which may be anybody's; nothing when it is no time to wait for."""
    if retry_after is None or not 0 <= retry_after <= _LONGEST_WAIT:
        return None
    return round(retry_after * 1000)


def _shown(head: AttemptHead) -> dict[str, object]:
    delivery: DeliveryHead = head.delivery
    return {
        "tenant": delivery.tenant,
        "event_id": delivery.event,
        "destination": delivery.destination,
        "attempt": delivery.attempt,
        "round": delivery.round,
        "outcome": head.outcome,
        "code": head.code,
        "latency_ms": head.latency,
    }
