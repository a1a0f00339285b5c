"""How far a batch is: a line in a terminal, with the rate and the time that is left."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from event_router.client.bodies import Job
from event_router.client.sources import Source

WIDTH = 24
EVERY = 0.1  # seconds between two looks of the line


class Progress(Protocol):
    """Is told how far a batch is, as it goes on."""

    def uploaded(self, source: Source) -> None: ...
    def job(self, job: Job) -> None: ...
    def close(self) -> None: ...


class Silent:
    """Shows nothing."""

    def uploaded(self, source: Source) -> None:
        pass

    def job(self, job: Job) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Bar:
    """One line that is written again and again."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    _phase: str = ""
    _since: float = 0.0
    _shown: float = 0.0
    _length: int = 0

    def uploaded(self, source: Source) -> None:
        self._show("uploading", source.done, source.total, source.unit)

    def job(self, job: Job) -> None:
        done = job.accepted + job.duplicates + job.refused
        total = job.rows
        if total is None and job.progress:
            total = max(done, round(done * 100 / job.progress))
        self._show("publishing", done, total, "rows", last=job.finished)

    def close(self) -> None:
        if self._length:
            self.out.write("\n")
            self.out.flush()
            self._length = 0

    def _show(
        self, phase: str, done: int, total: int | None, unit: str, *, last: bool = False
    ) -> None:
        now = self.clock()
        if phase != self._phase:
            self.close()
            self._phase, self._since, self._shown = phase, now, 0.0
        if not last and done != total and now - self._shown < EVERY and self._shown:
            return
        self._shown = now
        text = f"{phase:<10} {described(done, total, unit, now - self._since)}"
        self.out.write(f"\r{text:<{self._length}}")
        self.out.flush()
        self._length = len(text)


def described(done: int, total: int | None, unit: str, seconds: float) -> str:
    """`━━━━━━━━━━━━╺───────────  50 %  1,000,000 rows  250,000 rows/s  0:04 left`."""
    rate = done / seconds if seconds > 0 else 0.0
    parts = [_amount(done, unit)]
    if rate:
        parts.append(f"{_amount(round(rate), unit)}/s")
    if total:
        share = min(1.0, done / total)
        filled = round(share * WIDTH)
        parts.insert(0, f"{'━' * filled}{'─' * (WIDTH - filled)} {share:4.0%}")
        if rate and done < total:
            parts.append(f"{_clock((total - done) / rate)} left")
    return "  ".join(parts)


def _amount(count: int, unit: str) -> str:
    return f"{count / 1e6:,.1f} MB" if unit == "bytes" else f"{count:,} {unit}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_a_terminal(wanted: "bool | Progress | None") -> Progress:
    """The progress that was asked for; when nothing was said, a bar if somebody looks on."""
    if wanted is None:
        wanted = sys.stderr.isatty()
    if isinstance(wanted, bool):
        return Bar() if wanted else Silent()
    return wanted
