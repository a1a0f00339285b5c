"""`router publish-batch`: a file, a bucket's object or standard input, over the HTTP API."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import msgspec
from rich.table import Table

from event_router.client import BadArgument, Client, Job, TimestampFormat
from event_router.client.progress import Bar, Silent
from event_router.router.settings import Settings, read_settings
from event_router.schemas.errors import InvalidValue

SHOWN = 20
"""Refused rows in the summary; the job has more of them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was entered on the command line. `file` is a path, a URL, or - for standard input."""

    file: str
    tenant: str
    topic: str
    url: str | None = None
    timestamp_format: str = TimestampFormat.INFER.name
    dry_run: bool = False
    wait: bool = True
    quiet: bool = False
    others: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. `job` is None when it wasn't waited for."""

    uuid: str
    job: Job | None
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing was refused, or would be."""
        if self.job is None:
            return True
        return not self.job.refused and all(one.get("type") != "fatal" for one in self.job.report)


_ENTERED = {
    "events_path": "FILE",
    "project_id": "--tenant",
    "project_name": "--tenant",
    "model_id": "--topic",
    "model_name": "--topic",
    "update_event": "--update",
    "casting_type": "--casting",
}
"""The client's arguments whose name here doesn't follow from theirs."""


def publish_batch(wanted: Wanted) -> Outcome:
    """Raises what the client raises, with the arguments' names as they are entered."""
    try:
        return _publish(wanted)
    except BadArgument as error:
        argument = _ENTERED.get(error.field, f"--{error.field.replace('_', '-')}")
        raise InvalidValue(argument, error.value, error.expected) from error


def _publish(wanted: Wanted) -> Outcome:
    settings = read_settings()
    key = settings.api_key.get_secret_value()
    if not key:
        raise InvalidValue("ROUTER_API_KEY", key, 'the API\'s key: eval "$(router env)" sets it')
    started = monotonic()
    with Client(wanted.url or _url(settings), key) as client:
        answer = client.publish_events_batch(
            wanted.tenant,
            wanted.topic,
            _standard_input() if wanted.file == "-" else wanted.file,
            timestamp_format=_format(wanted.timestamp_format),
            dry_run=wanted.dry_run,
            wait=wanted.wait,
            progress=Silent() if wanted.quiet or not sys.stderr.isatty() else Bar(),
            **wanted.others,
        )
    return Outcome(answer["job_uuid"], answer.get("job"), monotonic() - started)


def summary(outcome: Outcome, *, dry_run: bool) -> list[Table | str]:
    """What to print: how the job ended, in a table; a dry run's report, in another."""
    if outcome.job is None:
        return [f"job {outcome.uuid} goes on: it wasn't waited for"]
    shown: list[Table | str] = [_counts(outcome.job, outcome.seconds, dry_run=dry_run)]
    if outcome.job.errors:
        shown.append(_refused(outcome.job))
    if outcome.job.report:
        shown.append(_report(outcome.job))
    elif dry_run:
        shown.append("nothing to remark")
    return shown


def _counts(job: Job, seconds: float, *, dry_run: bool) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column("what")
    table.add_column("how many", justify="right", overflow="fold")
    rows = job.accepted + job.duplicates + job.refused
    table.add_row("job", job.uuid)
    table.add_row("would be accepted" if dry_run else "accepted", f"{job.accepted:,}")
    table.add_row("duplicates", f"{job.duplicates:,}")
    table.add_row("refused", f"{job.refused:,}")
    table.add_row("rows with violations", f"{job.violations:,}")
    for name, count in job.dropped_fields.items():
        table.add_row(f"dropped: {name}", f"{count:,}")
    table.add_row("rows per second", f"{rows / seconds:,.0f}" if seconds else "")
    table.add_row("seconds", f"{seconds:,.1f}")
    return table


def _refused(job: Job) -> Table:
    table = Table(box=None)
    table.add_column("row", justify="right")
    table.add_column("why it was refused", overflow="fold")
    for one in job.errors[:SHOWN]:
        table.add_row(f"{one.row:,}", one.reason)
    if job.refused > SHOWN:
        table.add_row("…", f"{job.refused - SHOWN:,} more: GET /api/v1/jobs/{job.uuid}")
    return table


def _report(job: Job) -> Table:
    table = Table(box=None)
    for column in ("", "field", "what would happen", "rows"):
        table.add_column(column, overflow="fold")
    for one in job.report:
        rows = one.get("rows")
        told = f"{rows:,}" if isinstance(rows, int) else ""
        table.add_row(str(one.get("type")), str(one.get("field")), str(one.get("desc")), told)
    return table


def _standard_input() -> Iterator[dict[str, Any]]:
    """JSON Lines: a row each."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            shown = line.decode(errors="replace").strip()
            raise InvalidValue(f"line {number}", shown, f"a JSON object: {error}") from error


def _format(name: str) -> TimestampFormat:
    try:
        return TimestampFormat[name.upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(one.name for one in TimestampFormat)
        raise InvalidValue("--timestamp-format", name, f"one of {names}") from None


def _url(settings: Settings) -> str:
    host = "127.0.0.1" if settings.api_host in ("0.0.0.0", "::", "") else settings.api_host  # noqa: S104  it is replaced
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}"
