"""The live view: what the log and the schedule say, whoever published."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.table import Table

from event_router.consumers.ports import ScheduleStats
from event_router.router.readiness import Readiness
from event_router.router.store.log_ports import Counts

RATE_OVER = 10.0


@dataclass(frozen=True, slots=True)
class Look:
    """The state at one moment (monotonic seconds)."""

    at: float
    counts: Counts
    parked: ScheduleStats
    roles: Mapping[str, Readiness | None]


@dataclass(slots=True)
class View:
    """Keeps the looks of the last seconds, for the rates."""

    looks: deque[Look] = field(default_factory=deque)

    def add(
        self, counts: Counts, parked: ScheduleStats, roles: Mapping[str, Readiness | None]
    ) -> None:
        now = time.monotonic()
        self.looks.append(Look(now, counts, parked, roles))
        while now - self.looks[0].at > RATE_OVER:
            self.looks.popleft()

    def rate(self, state: str) -> float:
        """Per second, over the last RATE_OVER seconds."""
        first, last = self.looks[0], self.looks[-1]
        if last.at <= first.at:
            return 0.0
        gone = getattr(last.counts, state) - getattr(first.counts, state)
        return float(gone) / (last.at - first.at)

    def line(self) -> str:
        """One line, for a terminal that isn't one."""
        now = self.looks[-1]
        return (
            f"delivered {now.counts.delivered} ({self.rate('delivered'):.1f}/s)  "
            f"retrying {now.counts.retrying}  on their way {now.counts.waiting}  "
            f"parked {now.parked.entries}  dead {now.counts.dead} ({self.rate('dead'):.1f}/s)"
        )

    def table(self) -> Table:
        now = self.looks[-1]
        table = Table()
        table.add_column("deliveries", width=16)
        table.add_column("", justify="right", width=26, no_wrap=True)
        table.add_column("per second", justify="right", width=10)
        table.add_row("delivered", f"{now.counts.delivered:,}", f"{self.rate('delivered'):.1f}")
        table.add_row("dead", f"{now.counts.dead:,}", f"{self.rate('dead'):.1f}")
        table.add_row("on their way", f"{now.counts.waiting:,}", "")
        table.add_row("retrying", f"{now.counts.retrying:,}", "")
        table.add_row("  parked in Redis", f"{now.parked.entries:,}", "")
        table.add_section()
        for name, readiness in now.roles.items():
            table.add_row(name, _state(readiness), "")
        return table


def _state(readiness: Readiness | None) -> str:
    if readiness is None:
        return "not there"
    if readiness.troubles:
        return f"waits for {', '.join(readiness.troubles)}"
    return "ready" if readiness.ready else "starting"
