"""`publish_events_batch`: upload in parts, have it ingested, and watch the job."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial, wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec

import msgspec

from event_router.client.bodies import BatchPublishType, Enveloped, Job
from event_router.client.calls import Manners, model_path, read, read_format, watched
from event_router.client.errors import BadArgument
from event_router.client.exchange import Call, Request, Work
from event_router.client.progress import Progress, in_a_terminal
from event_router.client.retries import retried
from event_router.client.sources import Source, open_source, told
from event_router.client.upload import Upload
from event_router.client.values import encode
from event_router.schemas.ids import new_id
from event_router.schemas.timestamps import TimestampFormat

P = ParamSpec("P")

_OURS = 5  # frames from a warning to the line that called the client


@dataclass(frozen=True, slots=True)
class Order:
    """A batch as it was asked for, checked."""

    manners: Manners
    project: str
    model: str
    path: str
    data: Any
    kind: BatchPublishType | None
    credentials: Mapping[str, str] | None
    ingest: dict[str, Any]
    wait: bool
    timeout: float
    progress: Progress

    @property
    def dry_run(self) -> bool:
        return bool(self.ingest["dry_run"])


def ordered(
    manners: Manners,
    project_name: str | None = None,
    model_name: str | None = None,
    events_path: Any = None,
    batch_id: str | None = None,
    id_field: str | None = None,
    update_event: bool | None = None,
    timestamp_field: str | None = None,
    timestamp_format: TimestampFormat | None = TimestampFormat.INFER,
    data_source: BatchPublishType | None = None,
    casting_type: bool | None = False,
    credentials: Mapping[str, str] | None = None,
    group_by: str | None = None,
    project_id: str | None = None,
    model_id: str | None = None,
    batch_source: Any = None,
    *,
    wait: bool = False,
    dry_run: bool = False,
    timeout: float = 1800.0,
    progress: bool | Progress | None = None,
) -> Order:
    """Publishes the rows of a frame, a file or an object of a bucket to a model (a topic).

    The events are `events_path` or `batch_source`: a path, an s3:// or gs:// URL, a frame of
    pandas or polars, an Arrow table, or an iterable of dicts. Returns `status`, `job_uuid`,
    `files` and `message`: the rows are published by a job that goes on. With `wait` it is waited
    for (raises JobFailed, and JobNotDone after `timeout` seconds) and returned as `job`. With
    `dry_run` nothing is published, and `report` says what would become of the rows.

    A row's id is the value of `id_field`. The same `batch_id` twice is the same job. Rows of one
    `group_by` stay together and in order. `progress` shows a bar; by default in a terminal.
    """
    project = _either("project_name", project_name, "project_id", project_id)
    model = _either("model_name", model_name, "model_id", model_id)
    if events_path is not None and batch_source is not None:
        raise BadArgument("batch_source", "given", "left out: events_path was given, too")
    data = batch_source if events_path is None else events_path
    if update_event and id_field is None:
        raise BadArgument("id_field", None, "the field with the ids of the events to update")
    kind = None if data_source is None else BatchPublishType(data_source)
    told(data, kind)
    ingest = {
        "batch_id": batch_id or new_id(),
        "events_schema": None,
        "id_field": id_field,
        "is_update": bool(update_event),
        "timestamp_field": timestamp_field,
        "timestamp_format": read_format(timestamp_format).value,
        "group_by": group_by,
        "file_type": None,
        "upload_type": "event",
        "casting_type": bool(casting_type),
        "dry_run": dry_run,
    }
    return Order(
        manners=manners,
        project=project,
        model=model,
        path=model_path(project, model),
        data=data,
        kind=kind,
        credentials=credentials,
        ingest=ingest,
        wait=wait or dry_run,
        timeout=timeout,
        progress=in_a_terminal(progress),
    )


def _either(new: str, name: str | None, old: str, former: str | None) -> str:
    if former is None:
        return _named(new, name)
    warnings.warn(f"{old} is deprecated: use {new}", FutureWarning, stacklevel=_OURS)
    if name is not None and name != former:
        raise BadArgument(old, former, f"the same as {new} ({name!r}), or left out")
    return former


def _named(field: str, name: str | None) -> str:
    if name is None:
        raise BadArgument(field, None, "a name: it is required")
    return name


def uploaded(order: Order) -> Call[dict[str, Any]]:
    """Carries the order out over HTTP."""
    retries = order.manners.retries
    with closing(order.progress):
        source: Source = yield Work(partial(open_source, order.data, order.kind, order.credentials))
        with closing(source):
            upload = Upload(order.manners, order.project, order.model, source, order.progress)
            name = yield from upload()
        body = encode({"file_name": [name], **order.ingest})
        answer = yield from retried(Request("POST", f"{order.path}/ingest", body), retries)
        receipt = read(answer, Enveloped).data
        if not order.wait:
            return receipt
        job: Job = yield from watched(
            order.manners, receipt["job_uuid"], order.timeout, order.progress.job
        )
    return completed(order, receipt, job)


def completed(order: Order, receipt: dict[str, Any], job: Job) -> dict[str, Any]:
    """What is returned when the job has ended."""
    report = {"report": msgspec.json.encode(job.report).decode()} if order.dry_run else {}
    return {**receipt, "job": job, **report}


def _carried_out(
    order: Callable[Concatenate[Manners, P], Order],
) -> Callable[Concatenate[Manners, P], Call[dict[str, Any]]]:
    """The call that gives such an order."""

    @wraps(order)
    def call(manners: Manners, /, *args: P.args, **kwargs: P.kwargs) -> Call[dict[str, Any]]:
        return uploaded(order(manners, *args, **kwargs))

    call.__name__ = call.__qualname__ = "publish_events_batch"
    shown = signature(order).replace(return_annotation=Call[dict[str, Any]])
    call.__signature__ = shown  # type: ignore[attr-defined]  # functions have one when it is set
    return call


publish_events_batch = _carried_out(ordered)
