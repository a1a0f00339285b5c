"""Publishing a batch: every source, in parts, with what the router is asked for and answers."""

import asyncio
import gc
import gzip
import inspect
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from event_router.client import (
    BadArgument,
    BatchPublishType,
    Client,
    JobFailed,
    JobNotDone,
    TimestampFormat,
)
from event_router.client.batch import publish_events_batch
from event_router.client.sources import PART, Source, open_source
from tests.client.routers import KEY, URL, FakeRouter, awaitable, blocking, done

ROWS = [{"id": "a", "amount": 1.5}, {"id": "b", "amount": None}]
RUNNING = {"uuid": "j1", "status": "STARTED", "progress": 50.0}
FINISHED = {
    "uuid": "j1", "status": "SUCCESS", "progress": 100.0, "rows": 2, "accepted": 1, "refused": 1,
    "errors": [{"row": 2, "reason": "amount: 'x' is not castable to float"}],
    "report": [{"type": "warning", "field": "x", "desc": "unknown", "rows": 2}],
    "unknown_key": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: ROWS,
        lambda: iter(ROWS),
        lambda: pd.DataFrame(ROWS),
        lambda: type("Mine", (pd.DataFrame,), {})(ROWS),
        lambda: pl.DataFrame(ROWS),
        lambda: pa.Table.from_pylist(ROWS),
        lambda: pa.RecordBatch.from_pylist(ROWS),
        lambda: pa.Table.from_pylist(ROWS).to_reader(),
        lambda: pl.DataFrame(ROWS).lazy().collect(),
    ],
)
async def test_rows_travel_as_json_lines(
    client: Any, router: FakeRouter, make: Callable[[], Any]
) -> None:
    answer = await done(client.publish_events_batch("acme", "orders", make()))
    assert router.rows() == ROWS
    assert answer == {
        "status": 202,
        "job_uuid": "j1",
        "files": ["abcde_rows.jsonl.gz"],
        "message": "received",
    }


def test_what_speaks_arrows_stream_has_rows(router: FakeRouter) -> None:
    class Speaks:
        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return pa.Table.from_pylist(ROWS).__arrow_c_stream__(requested_schema)

    blocking(router).publish_events_batch("acme", "orders", Speaks())
    assert router.rows() == ROWS


@pytest.mark.parametrize(
    "make", [pd.DataFrame, pl.DataFrame, list], ids=["pandas", "polars", "list"]
)
def test_values_of_frames_are_written_sensibly(
    router: FakeRouter, make: Callable[[Any], Any]
) -> None:
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
    rows = [{"at": moment, "day": date(2026, 1, 31), "price": Decimal("1.10"), "v": [1.0, 2.0]}]
    blocking(router).publish_events_batch("acme", "orders", make(rows))
    (row,) = router.rows()
    assert datetime.fromisoformat(row.pop("at")) == moment
    assert row == {"day": "2026-01-31", "price": 1.1, "v": [1.0, 2.0]}


def test_rows_of_numpy_are_written_sensibly(router: FakeRouter) -> None:
    frame = pd.DataFrame({"n": np.arange(3), "x": [1.0, float("nan"), float("inf")]})
    rows = (row.to_dict() for _, row in frame.iterrows())
    blocking(router).publish_events_batch("acme", "orders", rows)
    assert router.rows() == [{"n": 0, "x": 1}, {"n": 1, "x": None}, {"n": 2, "x": None}]


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz", "events.parquet", "e.jsonl"])
async def test_a_file_travels_as_it_is(
    client: Any, router: FakeRouter, tmp_path: Path, name: str, kind: type
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"id,amount\na,1\n") if name.endswith(".gz") else b"id\na\n")
    await done(client.publish_events_batch("acme", "orders", kind(path)))
    assert router.files == {f"abcde_{name}": path.read_bytes()}


@pytest.mark.parametrize("size", [PART - 1, PART])
def test_one_part_is_one_request(router: FakeRouter, tmp_path: Path, size: int) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b"x" * size)
    blocking(router).publish_events_batch("acme", "orders", path)
    assert [request.url.path.rpartition("/")[2] for request in router.requests] == [
        "upload",
        "ingest",
    ]


async def test_more_is_sent_in_parts_and_a_broken_one_again(
    client: Any, router: FakeRouter, tmp_path: Path
) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(bytes(range(256)) * ((2 * PART + 256) // 256))
    router.troubles = [httpx.Response(503), httpx.Response(503)]
    await done(client.publish_events_batch("acme", "orders", path))
    assert [len(part) for part in router.parts["u1"].values()] == [PART, PART, 256]
    assert router.files == {"abcde_events.csv": path.read_bytes()}
    assert router.ingests[0]["file_name"] == ["abcde_events.csv"]


async def test_the_router_is_asked_for_all_that_was_given(client: Any, router: FakeRouter) -> None:
    await done(
        client.publish_events_batch(
            "acme",
            "orders",
            ROWS,
            batch_id="b1",
            id_field="id",
            update_event=True,
            timestamp_field="at",
            timestamp_format=TimestampFormat.ISO_8601,
            data_source=BatchPublishType.DATAFRAME,
            casting_type=True,
            group_by="customer",
        )
    )
    (ingest,) = router.ingests
    assert router.requests[-1].url.raw_path == b"/v2/events/router:acme:orders/ingest"
    assert ingest == {
        "file_name": ["abcde_rows.jsonl.gz"],
        "batch_id": "b1",
        "events_schema": None,
        "id_field": "id",
        "is_update": True,
        "timestamp_field": "at",
        "timestamp_format": "%Y-%m-%d %H:%M:%S.%f",
        "group_by": "customer",
        "file_type": None,
        "upload_type": "event",
        "casting_type": True,
        "dry_run": False,
    }


async def test_a_retried_ingest_names_the_same_batch(client: Any, router: FakeRouter) -> None:
    uploaded = httpx.Response(202, json={"data": {"file_name": "abcde_rows.jsonl.gz"}})
    router.troubles = [uploaded, httpx.Response(502)]
    await done(client.publish_events_batch("acme", "orders", ROWS))
    first, second = (json.loads(request.content) for request in router.requests[1:])
    assert first == second
    assert first["batch_id"]


async def test_the_job_can_be_waited_for(client: Any, router: FakeRouter) -> None:
    router.jobs = [FINISHED]
    answer = await done(client.publish_events_batch("acme", "orders", ROWS, wait=True))
    job = answer["job"]
    assert (job.accepted, job.refused, job.errors[0].row) == (1, 1, 2)


async def test_a_dry_run_waits_and_returns_the_report(client: Any, router: FakeRouter) -> None:
    router.jobs = [FINISHED]
    answer = await done(client.publish_events_batch("acme", "orders", ROWS, dry_run=True))
    assert router.ingests[0]["dry_run"] is True
    assert json.loads(answer["report"])[0]["field"] == "x"


@pytest.mark.parametrize("status", ["FAILURE", "REVOKED"])
async def test_a_job_that_didnt_end_well_is_an_error(
    client: Any, router: FakeRouter, status: str
) -> None:
    router.jobs = [{"uuid": "j1", "status": status, "error": "no column 'id'"}]
    with pytest.raises(JobFailed, match=f"j1 ended in {status}: no column 'id'") as caught:
        await done(client.wait_for("j1"))
    assert caught.value.job.uuid == "j1"


async def test_a_failed_job_says_which_rows_were_refused_and_why(
    client: Any, router: FakeRouter
) -> None:
    rows = [{"row": n, "reason": f"id: None is not an id ({n})"} for n in range(1001, 1011)]
    failed = {"uuid": "j1", "status": "FAILURE", "error": "none of the 12 rows was accepted"}
    router.jobs = [{**failed, "refused": 12, "errors": rows}]
    with pytest.raises(JobFailed) as caught:
        await done(client.publish_events_batch("acme", "orders", ROWS, wait=True))
    first, *reasons, others = str(caught.value).splitlines()
    assert first == "job j1 ended in FAILURE: none of the 12 rows was accepted"
    assert reasons == [f"  row {n:,}: id: None is not an id ({n})" for n in range(1001, 1006)]
    assert others == "  and 7 more: `job.errors` has the first ones"


async def test_a_job_that_goes_on_is_waited_for_no_longer_than_was_said(
    client: Any, router: FakeRouter
) -> None:
    router.jobs = [RUNNING]
    with pytest.raises(JobNotDone, match="j1 is not done after 0 s \\(50 %\\)"):
        await done(client.wait_for("j1", timeout=0))


async def test_a_job_can_be_asked_for_and_cancelled(client: Any, router: FakeRouter) -> None:
    router.jobs = [RUNNING, {**RUNNING, "status": "REVOKED"}]
    assert not (await done(client.job("j1"))).finished
    assert (await done(client.cancel_job("j1"))).finished
    asked = [(request.method, request.url.path) for request in router.requests]
    assert asked == [("GET", "/api/v1/jobs/j1"), ("POST", "/api/v1/jobs/j1/cancel")]


async def test_the_former_names_work_and_say_so(client: Any, router: FakeRouter) -> None:
    with pytest.warns(FutureWarning) as seen:
        await done(
            client.publish_events_batch(project_id="acme", model_id="orders", batch_source=ROWS)
        )
    assert [str(warning.message) for warning in seen] == [
        "project_id is deprecated: use project_name",
        "model_id is deprecated: use model_name",
    ]
    assert {Path(warning.filename).parent for warning in seen} == {Path(__file__).parent}
    assert router.rows() == ROWS


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"project_name": None}, "project_name: None is not a name"),
        ({"project_id": "other"}, "project_id: 'other' is not the same as project_name"),
        ({"model_name": "Orders"}, "model_id: 'Orders' is not 2 to 30"),
        ({"batch_source": ROWS}, "batch_source: 'given' is not left out"),
        ({"events_path": None}, "events_path: None is not a file"),
        ({"events_path": []}, "a batch with at least one row"),
        ({"events_path": iter(())}, "a batch with at least one row"),
        ({"events_path": pd.DataFrame()}, "a batch with at least one row"),
        ({"events_path": "nowhere.csv"}, "'nowhere.csv' is not a file that is there"),
        ({"events_path": "ftp://x/y"}, "a URL that begins with s3:// or gs://"),
        ({"events_path": 5}, "events_path: 5 is not a frame"),
        ({"events_path": {"a": 1}}, "is not a frame"),
        ({"events_path": [1]}, "row 1: 1 is not a dict"),
        ({"events_path": pd.DataFrame([[1, 2]], columns=["a", "a"])}, "that is there once"),
        ({"data_source": BatchPublishType.LOCAL_DISK}, "'LOCAL_DISK' is not DATAFRAME"),
        ({"update_event": True}, "id_field: None is not the field"),
    ],
)
async def test_what_cant_be_right_is_refused_before_anything_is_sent(
    client: Any, router: FakeRouter, given: dict[str, Any], said: str
) -> None:
    arguments = {"project_name": "acme", "model_name": "orders", "events_path": ROWS, **given}
    with pytest.raises(ValueError, match=said) as caught:
        await done(client.publish_events_batch(**arguments))
    assert isinstance(caught.value, BadArgument)
    assert router.requests == []


@pytest.mark.parametrize("name", ["events.pkl", "events.csv"])
def test_a_pickle_is_refused_whatever_it_is_called(
    router: FakeRouter, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    pd.DataFrame(ROWS).to_pickle(path)
    with pytest.raises(BadArgument, match="a pickle isn't read"):
        blocking(router).publish_events_batch("acme", "orders", path)


def test_the_signature_is_the_documented_one() -> None:
    names = list(inspect.signature(publish_events_batch).parameters)
    assert names[1:16] == [
        "project_name", "model_name", "events_path", "batch_id", "id_field", "update_event",
        "timestamp_field", "timestamp_format", "data_source", "casting_type", "credentials",
        "group_by", "project_id", "model_id", "batch_source",
    ]  # fmt: skip


async def test_a_cancelled_batch_lets_go_of_its_rows(router: FakeRouter) -> None:
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def rows() -> Iterator[dict[str, Any]]:
        try:
            begun.set()
            go_on.wait(10)
            yield {"a": 1}
        finally:
            closed.set()

    async with awaitable(router) as client:
        call = asyncio.ensure_future(client.publish_events_batch("acme", "orders", rows()))
        await asyncio.to_thread(begun.wait, 10)
        call.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await call
    assert closed.is_set()
    assert router.requests == []


def test_parts_are_all_of_it_in_order() -> None:
    chunks = [b"a" * 3, b"b" * 10, b"c" * 4, b"d" * 4, b"e"]
    source = Source("x", "bytes", None, iter(chunks))
    parts = list(source.parts(4))
    assert b"".join(parts) == b"".join(chunks)
    assert {len(part) for part in parts[:-1]} == {4}


def _noise(count: int) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {"id": n, "text": hex(hash((n, "salt")) & (2**64 - 1)) * 10}


def _peak(count: int) -> int:
    """The most memory that the rows' way into parts takes, in bytes."""
    source = open_source(_noise(count), None, None)
    tracemalloc.start()
    try:
        for _ in source.parts(1 << 17):
            if source.done <= 10_000:
                tracemalloc.reset_peak()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_doesnt_grow_with_the_number_of_rows() -> None:
    assert _peak(45_000) <= 1.1 * _peak(20_000)


def _peak_of_upload(path: Path, size: int) -> int:
    """The most memory that it takes when the collector doesn't come by."""
    with path.open("wb") as file:
        file.truncate(size)
    about = {"file_name": "f", "upload_id": "u", "info": {"ETag": "e"}, "job_uuid": "j"}
    transport = httpx.MockTransport(lambda _: httpx.Response(202, json={"data": about}))
    with Client(URL, KEY, http=httpx.Client(transport=transport)) as client:
        gc.disable()
        tracemalloc.start()
        try:
            client.publish_events_batch("acme", "orders", path)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            gc.enable()


def test_memory_doesnt_grow_with_the_number_of_parts(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    assert _peak_of_upload(path, 7 * PART) <= 1.1 * _peak_of_upload(path, 3 * PART)
