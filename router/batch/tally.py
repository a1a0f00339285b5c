"""How far a job is, as its chunks come back. Pure."""

from collections import Counter
from collections.abc import Callable

import msgspec

from event_router.router.batch.chunks import Numbered, Outcome
from event_router.router.store.job_ports import LISTED, Progress, Remark, Remarks, ReportLine
from event_router.router.store.schema_ports import Found

_FIELDS_TOLD_APART = 100
_replace = msgspec.structs.replace


class Tally:
    """The progress of a job, and what is new since it was last taken down.

    Until `settled` rows are done, the offsets from which its rows may lie in the topic stay as
    they are: rows that an earlier worker sent may lie before ours.
    """

    def __init__(
        self,
        progress: Progress,
        settled: int = 0,
        report: Callable[[], tuple[ReportLine, ...]] = tuple,
    ) -> None:
        self.progress = progress
        self._report = report
        self._settled = settled
        self._refusals: list[Remark] = []
        self._violations: list[Remark] = []
        self._found: dict[tuple[str, str], Found] = {}

    def add(self, outcome: Outcome, now: int) -> None:
        """`now` in ms."""
        before = self.progress
        done = before.done + outcome.rows
        tail = before.tail | outcome.ends if done > self._settled else before.tail
        violating = [one for one in outcome.accepted if one.event.violations]
        self.progress = _replace(
            before,
            done=done,
            accepted=before.accepted + len(outcome.accepted),
            duplicates=before.duplicates + outcome.duplicates,
            refused=before.refused + len(outcome.refusals),
            violations=before.violations + len(violating),
            dropped=_dropped(before.dropped, outcome.accepted),
            tail=tail,
        )
        self._refusals += sorted(outcome.refusals, key=_row_of)[: LISTED - len(self._refusals)]
        for one in violating:
            self._violates(outcome.file, one, now)

    def give_up(self, file: str, row: int, rows: int, reason: str) -> None:
        """The next `rows` rows can't be read."""
        before = self.progress
        self.progress = _replace(before, done=before.done + rows, refused=before.refused + rows)
        self._refusals.append(Remark(file, row, f"{reason} ({rows} rows from here on)"))

    def drained(self) -> None:
        """Nothing is on its way: no row lies in the topic that isn't done."""
        self.progress = _replace(self.progress, clean=True, tail={})

    def take(self) -> tuple[Progress, Remarks, list[Found]]:
        """The progress, and what has been remarked and found since this was last asked."""
        remarks = Remarks(tuple(self._refusals), tuple(self._violations), self._report())
        found = list(self._found.values())
        self._refusals, self._violations, self._found = [], [], {}
        return self.progress, remarks, found

    def _violates(self, file: str, one: Numbered, now: int) -> None:
        for violation in one.event.violations:
            if len(self._violations) < LISTED:
                said = f"{violation.field}: {violation.desc}"
                self._violations.append(Remark(file, one.row, said))
            key = (violation.field, violation.kind)
            before = self._found.get(key)
            count, first = (before.count + 1, before.first_at) if before else (1, now)
            self._found[key] = Found(*key, count, one.event.id, violation.desc, first, now)


def _row_of(remark: Remark) -> int:
    return remark.row


def _dropped(before: dict[str, int], accepted: list[Numbered]) -> dict[str, int]:
    """How often each field was dropped; so many names are told apart, the others are `…`."""
    counted = Counter(name for one in accepted for name in one.event.dropped)
    if not counted:
        return before
    total = dict(before)
    for name, count in counted.items():
        kept = name if name in total or len(total) < _FIELDS_TOLD_APART else "…"
        total[kept] = total.get(kept, 0) + count
    return total
