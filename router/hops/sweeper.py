"""When to sweep: slowly all the time, and at once when the schedule was lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from event_router.router.hops.sweep import Sweep
from event_router.schemas.errors import Unavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SweeperPace:
    """Seconds. What had something to do within `grace` is left alone, but not for `hurry` after a
    loss: whoever had it in hand when all was lost has done with it by then."""

    check: float = 1.0
    every: float = 15.0
    grace: float = 60.0
    hurry: float = 120.0


@dataclass(slots=True)
class Sweeper:
    """Sweeps for as long as it runs. `clock` gives ms since the epoch.

    Trouble of a dependency is waited out: deliveries go on without it.
    """

    sweep: Sweep
    clock: Callable[[], int]
    pace: SweeperPace = SweeperPace()
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    _next: int = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            why = await self._until_one_ends()
            log.warning("sweep.postponed", extra={"why": why})
            await self.pause(self.pace.check)

    async def _until_one_ends(self) -> str:
        """Why it did, as none does by itself. A task group wouldn't do: a client that ends may
        leave a cancellation behind in whoever waits for it, which a group takes for the task's own,
        and goes on without it; and before Python 3.13 one whose task fails looks cancelled itself.
        """
        works = {
            "pass": self._keep_sweeping(),
            "refill": self.sweep.refills.run(),
            "turn": self.sweep.orphans.keep_turn(),
        }
        tasks = {
            asyncio.create_task(work, name=f"sweep: {name}"): name for name, work in works.items()
        }
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return "; ".join(f"{tasks[task]}: {_end_of(task)}" for task in ended)

    async def _keep_sweeping(self) -> None:
        while True:
            await self._once()
            await self.pause(self.pace.check)

    async def _once(self) -> None:
        schedule = self.sweep.schedule
        intact_for = await schedule.intact_for()
        if intact_for is None:
            # Marked first: another loss during the pass shows, too.
            await schedule.mark()
            self.sweep.refills.forget()  # what they had parked is lost, too
            intact_for = 0.0
            detail = "Redis is new, or lost what it held: sweeping at once"
            log.warning("schedule.unmarked", extra={"detail": detail})
        now, every = self.clock(), round(self.pace.every * 1000)
        # The schedule knows since when: whoever sweeps hurries, were it to begin only now.
        hurry = 0 <= intact_for < self.pace.hurry
        if hurry or not 0 < self._next - now <= every:  # a clock may be set back
            grace = 0 if hurry else round(self.pace.grace * 1000)
            parked = await self.sweep(now - grace, hurry=hurry)
            # What was parked made place at the front: there may be more.
            self._next = self.clock() + (0 if parked else every)


def _end_of(task: "asyncio.Task[None]") -> str:
    """Raises what is no trouble of a dependency, but a mistake."""
    if task.cancelled():
        return "interrupted"
    error = task.exception()
    if error is None or isinstance(error, Unavailable):
        return str(error or "ended")
    raise error
