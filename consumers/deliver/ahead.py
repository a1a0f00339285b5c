"""Claims beyond the slots, for who works off a backlog quickly. Pure.

One that answers at once has few slots, and works off many times as many until the next look. But
what was parked has waited already: while a worker does nothing else, everything else on its cores
waits for it. So as long as the last ones took, there are none; and where the machine is busy with
others, and they took longer, the pause is longer, too. Who is alone keeps nobody waiting, and has
the next ones claimed while the last ones are attempted.
"""

from dataclasses import dataclass, field

from event_router.schemas.delivery import DestinationKey

LONGEST_PAUSE = 0.25


@dataclass(slots=True)
class Ahead:
    """`most` are claimed at once, `most_alone` lie ready for one that is alone. Times are
    monotonic, in seconds."""

    most: int
    most_alone: int
    _since: dict[DestinationKey, float] = field(default_factory=dict)
    _until: dict[DestinationKey, float] = field(default_factory=dict)

    def claimed(self, key: DestinationKey, now: float) -> None:
        """As many as were asked for: there may be more."""
        self._since[key] = now

    def caught_up(self, key: DestinationKey) -> None:
        """There are no more."""
        self._since.pop(key, None)

    def count(self, waiting: int, *, alone: bool) -> int:
        """How many to claim, with so many `waiting` in line."""
        return max(self.most_alone - waiting, 0) if alone else self.most

    def pause(self, key: DestinationKey, waiting: int, now: float, *, alone: bool) -> float:
        """For how long nothing more is claimed; while some are `waiting` in line, until these have
        been worked off, and there is room for more."""
        if waiting and not (alone and waiting < self.most_alone):
            return LONGEST_PAUSE
        since = self._since.pop(key, None)
        if alone:
            return 0.0
        if since is not None:
            self._until[key] = now + min(now - since, LONGEST_PAUSE)
        left = self._until.get(key, now) - now
        if left <= 0:
            self._until.pop(key, None)
        return max(left, 0.0)
