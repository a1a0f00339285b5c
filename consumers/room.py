"""Who may start an attempt now: slots, a share of them per destination, circuits. Pure.

One bad destination harms nobody, and neither do many. A slot is lost for as long as an attempt
hangs, so slots go to destinations that have shown that they give them back: a destination is
*trusted* when the attempt that ended last was quick and none that runs drags on (`mark_slow`).

- Those that aren't, new ones included, share half of the slots among them, each alike and none
  with more than a sixteenth. The first slot of each is exempt, so that it can show what it is.
- A trusted one may have an eighth of the slots. With every quick answer while that isn't enough
  it may have one more, as long as half of all slots are free; until it needed none of them.
- One that answers at once needs few: a worker doesn't end more than `MOST_PER_MS`. What it waits
  for is the worker, and with more of its attempts side by side everybody would wait longer: each
  turn of the loop, and each look at a socket, takes as long as all that have come in meanwhile.
  Who has had no company for three seconds keeps nobody waiting.
- While the worker is late in reading what is for others (`hurry`), nobody has more than an eighth
  of an eighth: reading comes first, or a burst at one destination would hold up all the others.
- Who has more than an eighth of an eighth leaves the last quarter of all slots to others.
- Who has a limit of its own has no room beyond it (`rates.py`).
"""

import math
from dataclasses import dataclass, field

from event_router.consumers.circuit import after_failure, is_open, probes
from event_router.consumers.ports import Backoff
from event_router.consumers.rates import Rates
from event_router.schemas.delivery import DestinationKey

SHARE = 8
MOST_PER_MS = 4
"""Attempts that a worker could end at best."""
ALONE_AFTER = 3000
"""How long nobody else's attempt has begun when one is alone, in ms."""


@dataclass(slots=True)
class Room:
    """Slots of one worker. Times are in ms since the epoch."""

    slots: int
    running: dict[DestinationKey, int] = field(default_factory=dict)
    slow: dict[DestinationKey, int] = field(default_factory=dict)
    trusted: set[DestinationKey] = field(default_factory=set)
    backoffs: dict[DestinationKey, Backoff] = field(default_factory=dict)
    probed: dict[DestinationKey, int] = field(default_factory=dict)
    grown: dict[DestinationKey, int] = field(default_factory=dict)
    filled: set[DestinationKey] = field(default_factory=set)
    quick: dict[DestinationKey, float] = field(default_factory=dict)
    taken: int = 0
    hurry: bool = False
    doubtful: dict[DestinationKey, int] = field(default_factory=dict)
    doubtful_taken: int = 0
    rates: Rates = field(default_factory=Rates)
    _latest: DestinationKey | None = None
    _latest_at: int = 0
    _others_at: int = 0

    @property
    def cap(self) -> int:
        """A trusted destination's share of the slots."""
        return max(self.slots // SHARE, 1)

    def free(self, key: DestinationKey, now: int) -> int:
        """How many attempts this destination may start now."""
        running = self.running.get(key, 0)
        trusted = key in self.trusted
        free = self._trusted_share(key, now) if trusted else self._doubtful_share(running)
        free = min(free, self.slots - self.taken)
        backoff = self.backoffs.get(key)
        if backoff is not None and backoff.open_until:
            shut = is_open(backoff, now)
            free = min(free, 0 if shut else self._probes(key, backoff) - running)
        return max(min(free, self.rates.free(key, now)), 0)

    def is_alone(self, key: DestinationKey, now: int) -> bool:
        """Nobody else has had an attempt for a while."""
        return key == self._latest and now - self._others_at >= ALONE_AFTER

    def is_shut(self, key: DestinationKey, now: int) -> bool:
        """Whether its circuit is open: there will be no room for a while."""
        backoff = self.backoffs.get(key)
        return backoff is not None and is_open(backoff, now)

    def _probes(self, key: DestinationKey, backoff: Backoff) -> int:
        """How many more may fail; at those that take long to fail a single one."""
        return probes(backoff) - self.probed.get(key, 0) if key in self.trusted else 1

    def _may_fail_more(self, key: DestinationKey, backoff: Backoff, now: int) -> bool:
        was_open = backoff.open_until > 0 and not is_open(backoff, now)
        return was_open and self._probes(key, backoff) > 1

    def _trusted_share(self, key: DestinationKey, now: int) -> int:
        running = self.running.get(key, 0)
        if self.hurry:
            return self._little - running
        more = min(self.grown.get(key, self.cap) - running, self.slots // 2 - self.taken)
        unreserved = self.slots - self.slots // 4 - self.taken
        enough = self.slots if self.is_alone(key, now) else self._enough(key) - running
        return max(self._little - running, min(max(self.cap - running, more), enough, unreserved))

    @property
    def _little(self) -> int:
        return max(self.cap // SHARE, 1)

    def _enough(self, key: DestinationKey) -> int:
        """Slots with which it gets as much as a worker can do, going by its quick answers."""
        quick = self.quick.get(key)
        most = self.slots if quick is None else math.ceil(quick * MOST_PER_MS)
        return max(self._little, most)

    def _doubtful_share(self, running: int) -> int:
        half = self.slots // 2
        others = len(self.doubtful) + (0 if running else 1)
        share = max(min(self.cap // 2, half // others), 1)
        first = 0 if running or self.taken >= max(self.slots - self.cap, 1) else 1
        return max(first, min(share - running, half - self.doubtful_taken))

    def take(self, key: DestinationKey, now: int) -> None:
        if key != self._latest:
            self._latest, self._others_at = key, self._latest_at
        self._latest_at = now
        self.running[key] = self.running.get(key, 0) + 1
        self.taken += 1
        if key not in self.trusted:
            self.doubtful[key] = self.running[key]
            self.doubtful_taken += 1
        elif self.running[key] >= self.grown.get(key, self.cap):
            self.filled.add(key)

    def mark_slow(self, key: DestinationKey) -> None:
        """One of its attempts drags on."""
        self.slow[key] = self.slow.get(key, 0) + 1
        if key in self.trusted:
            self.trusted.remove(key)
            self.grown.pop(key, None)
            self.filled.discard(key)
            self.quick.pop(key, None)
            self.doubtful[key] = self.running[key]
            self.doubtful_taken += self.running[key]

    def give(self, key: DestinationKey, *, slow: bool, took: int) -> None:
        """An attempt has ended after so many ms, which `mark_slow` was called for or not."""
        _count_down(self.running, key)
        self.taken -= 1
        if key not in self.trusted:
            _count_down(self.doubtful, key)
            self.doubtful_taken -= 1
        if slow:
            _count_down(self.slow, key)
        elif key not in self.slow:
            self.trusted.add(key)
            self.doubtful_taken -= self.doubtful.pop(key, 0)
            self._grow(key, took)

    def _grow(self, key: DestinationKey, took: int) -> None:
        """One more, if all that it may have were in use since it last had none in use. What is
        quicker than before counts at once, what isn't bit by bit."""
        before = self.quick.get(key, took)
        self.quick[key] = min(took, before + (took - before) / 16)
        if key in self.filled:
            self.grown[key] = min(self.grown.get(key, self.cap) + 1, max(self.slots // 2, self.cap))
        if key not in self.running:
            if key not in self.filled:
                self.grown.pop(key, None)
            self.filled.discard(key)

    def succeeded(self, key: DestinationKey, now: int) -> None:
        """Closes its circuit once that has had its time. A success before is that of an attempt
        which began before it opened, and it takes no `Retry-After` back."""
        backoff = self.backoffs.get(key)
        if backoff is not None and not is_open(backoff, now):
            del self.backoffs[key]
            self.probed.pop(key, None)

    def failed(self, key: DestinationKey, now: int, retry_after: int | None) -> int:
        """Until when (ms) its circuit is open; 0 when it isn't."""
        before = self.backoffs.get(key)
        if before and self._may_fail_more(key, before, now) and not retry_after:
            self.probed[key] = self.probed.get(key, 0) + 1
            return 0
        self.probed.pop(key, None)
        backoff = after_failure(before, now, retry_after)
        self.backoffs[key] = backoff
        return backoff.open_until if is_open(backoff, now) else 0


def _count_down(counts: dict[DestinationKey, int], key: DestinationKey) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
