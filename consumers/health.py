"""What a role says of itself: which dependency is in trouble, and whether it gets on.

Adapters report here, `/readyz` and the stall watchdog read here.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Health:
    """One role's health. `clock` is monotonic, in seconds. `warnings` are for people, and don't
    make the role unready: it works, for all but what they name."""

    clock: Callable[[], float] = time.monotonic
    troubles: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    last_progress: float = 0.0
    started: bool = False

    def __post_init__(self) -> None:
        self.last_progress = self.clock()

    @property
    def ready(self) -> bool:
        return self.started and not self.troubles and not self.faults

    def down(self, dependency: str, what_to_do: str) -> None:
        """`dependency` doesn't work; `what_to_do` is for the person who reads `/readyz`."""
        if dependency not in self.troubles:
            log.warning("dependency.down", extra={"dependency": dependency, "detail": what_to_do})
        self.troubles[dependency] = what_to_do

    def up(self, dependency: str) -> None:
        """`dependency` works. Time that passed while it was down doesn't count as a stall."""
        if self.troubles.pop(dependency, None) is not None:
            log.warning("dependency.up", extra={"dependency": dependency})
            self.last_progress = self.clock()

    def fault(self, what: str, detail: str) -> None:
        """Something of ours doesn't work: not ready, and unlike a dependency that is down it
        counts as a stall, so that the role is started again."""
        if what not in self.faults:
            log.error("role.fault", extra={"fault": what, "detail": detail})
        self.faults[what] = detail

    def mended(self, what: str) -> None:
        if self.faults.pop(what, None) is not None:
            log.warning("role.mended", extra={"fault": what})

    def progress(self) -> None:
        """A record was finished."""
        self.last_progress = self.clock()

    def stalled_for(self, lag: int) -> float:
        """Seconds since the last progress, 0 when nothing waits or a dependency is down."""
        if lag == 0 or self.troubles:
            self.last_progress = self.clock()
            return 0.0
        return self.clock() - self.last_progress
