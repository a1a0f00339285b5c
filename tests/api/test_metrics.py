"""Events and attempts in numbers, as dashboards ask for them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from event_router.router.api import metrics
from event_router.schemas.decode import rfc3339
from tests.api.world import World, a_settings
from tests.store.history import START, History, write

HOUR = 3_600_000
DAY = {"time[start]": rfc3339(START - HOUR), "time[end]": rfc3339(START + 23 * HOUR)}


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World(a_settings(jwt_secret="a-secret-of-thirty-two-bytes-or-more"))
    history = History()
    event = history.event("e1")
    history.attempt(history.delivery(event, "d1"), "failed", latency=10.0)
    history.now = START + HOUR
    history.attempt(history.delivery(event, "d1", attempt=2), latency=30.0)
    history.attempt(history.delivery(history.event("e2", "other", "t"), "d2"), latency=50.0)
    await write(made.log, history.records)
    async with made.client:
        yield made


async def data(world: World, path: str, **asked: Any) -> list[dict[str, Any]]:
    answer = await world.client.get(f"metrics/{path}", params={**DAY, **asked})
    assert answer.status_code == 200, answer.text
    points: list[dict[str, Any]] = answer.json()["data"]
    assert answer.json()["metadata"]["row_count"] == len(points)
    return points


async def test_without_anything_it_is_one_point(world: World) -> None:
    assert await data(world, "events", measures=["count", "rate"]) == [
        {"dimensions": {}, "metrics": {"count": 2, "rate": 2 / 86_400}}
    ]


async def test_all_measures_of_attempts(world: World) -> None:
    measures = list(metrics.AttemptMeasure.__args__)  # type: ignore[attr-defined]  # of a Literal
    (point,) = await data(world, "attempts", measures=measures)
    assert point["metrics"] == {
        "count": 3,
        "successful_count": 2,
        "failed_count": 1,
        "error_rate": 1 / 3,
        "first_attempt_count": 2,
        "retry_count": 1,
        "manual_retry_count": 0,
        "avg_attempt_number": 4 / 3,
        "rate": 3 / 86_400,
        "successful_rate": 2 / 86_400,
        "failed_rate": 1 / 86_400,
        "avg_latency": 30.0,
        "p50_latency": 30.0,
        "p95_latency": 50.0,
        "p99_latency": 50.0,
    }


async def test_without_attempts_there_is_no_latency(world: World) -> None:
    measures = ["count", "error_rate", "avg_latency", "p99_latency"]
    (point,) = await data(world, "attempts", measures=measures, **{"filters[code]": "404"})
    assert point["metrics"] == {
        "count": 0,
        "error_rate": 0.0,
        "avg_latency": None,
        "p99_latency": None,
    }


async def test_points_have_a_time_and_texts_for_dimensions(world: World) -> None:
    points = await data(
        world,
        "attempts",
        measures="count",
        granularity="1h",
        dimensions=["manual", "attempt_number", "status"],
    )
    begin = START - START % HOUR
    assert [point for point in points if point["metrics"] == {"count": 1}] == [
        {
            "time_bucket": rfc3339(at),
            "dimensions": {"manual": "false", "attempt_number": attempt, "status": status},
            "metrics": {"count": 1},
        }
        for at, attempt, status in (
            (begin, "1", "failed"),
            (begin + HOUR, "1", "success"),
            (begin + HOUR, "2", "success"),
        )
    ]


async def test_hours_without_anything_have_a_point_of_noughts(world: World) -> None:
    points = await data(world, "attempts", measures=["count", "p50_latency"], granularity="1h")
    assert len({point["time_bucket"] for point in points}) == len(points) == 25
    assert [point["metrics"] for point in points if point["metrics"]["count"]] == [
        {"count": 1, "p50_latency": 10.0},
        {"count": 2, "p50_latency": 30.0},
    ]
    assert points[-1]["metrics"] == {"count": 0, "p50_latency": None}


async def test_each_combination_that_there_is_has_a_point_every_hour(world: World) -> None:
    points = await data(world, "events", measures="count", granularity="1h", dimensions="topic")
    counts: dict[str, int] = {}
    for point in points:
        topic = point["dimensions"]["topic"]
        counts[topic] = counts.get(topic, 0) + point["metrics"]["count"]
    assert sum(counts.values()) == 2
    assert len(points) == 25 * len(counts)


async def test_buckets_beyond_the_limit_are_cut(world: World) -> None:
    asked = {**DAY, "time[end]": rfc3339(START + 60 * 24 * HOUR), "granularity": "1s"}
    answer = await world.client.get("metrics/events", params={**asked, "measures": "count"})
    info = answer.json()["metadata"]
    assert (info["row_count"], info["truncated"]) == (metrics.ROW_LIMIT, True)


@pytest.mark.parametrize("written", ["filters[topic]", "filters[topic][]", "filters[topic][0]"])
async def test_filters_may_be_written_in_three_ways(world: World, written: str) -> None:
    (point,) = await data(world, "events", **{"measures[]": "count", written: ["t", "u"]})
    assert point["metrics"] == {"count": 1}


async def test_months_have_rates_of_their_own_length(world: World) -> None:
    (point,) = await data(world, "events", measures=["rate"], granularity="1M")
    assert point["time_bucket"] == "2026-09-01T00:00:00.000Z"
    assert point["metrics"] == {"rate": 2 / (30 * 86_400)}


async def test_more_rows_than_the_limit_are_cut_and_said_to_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "ROW_LIMIT", 1)
    answer = await world.client.get(
        "metrics/events", params={**DAY, "measures": "count", "dimensions": "tenant_id"}
    )
    info = answer.json()["metadata"]
    assert (info["row_count"], info["row_limit"], info["truncated"]) == (1, 1, True)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"measures": None}, "measures is required"),
        ({"measures": "speed"}, "measures.0"),
        ({"time[start]": None}, "time.start is required"),
        ({"time[start]": "yesterday"}, "time.start: a time such as "),
        ({"time[from]": "2026-01-01"}, "time.from is not a known field"),
        ({"granularity": "1y"}, "granularity: a number and a unit"),
        ({"granularity": "25h"}, "granularity: a number and a unit"),
        ({"granularity": "0h"}, "granularity: a number and a unit"),
        ({"dimensions": "colour"}, "dimensions.0"),
        ({"filters[colour]": "red"}, "filters.colour is not a known field"),
        ({"filters": "red"}, "filters"),
        ({"time": "2026-01-01"}, "time"),
    ],
)
@pytest.mark.parametrize("path", ["events", "attempts"])
async def test_what_cannot_be_asked_is_400_and_says_why(
    world: World, path: str, change: dict[str, Any], line: str
) -> None:
    asked = {**DAY, "measures": "count", **change}
    given = {name: value for name, value in asked.items() if value is not None}
    answer = await world.client.get(f"metrics/{path}", params=given)
    assert answer.status_code == 400
    assert answer.json()["data"][0].startswith(line)


async def test_a_time_that_cannot_be_counted_is_400(world: World) -> None:
    swapped = {"time[start]": DAY["time[end]"], "time[end]": DAY["time[start]"]}
    long_ = {"time[start]": "1970-01-01", "time[end]": "2100-01-01", "granularity": "1M"}
    early = {"time[start]": "1969-12-31", "time[end]": "2100-01-01"}
    late = {"time[start]": "9999-01-01", "time[end]": "9999-12-31", "granularity": "1M"}
    for times in (swapped, long_, early, late):
        answer = await world.client.get("metrics/events", params={**times, "measures": "count"})
        assert answer.status_code == 400


async def test_a_tenant_counts_its_own(world: World) -> None:
    await world.tenant()
    token = (await world.client.get("tenants/acme/token")).json()["token"]
    headers = {"authorization": f"Bearer {token}"}
    for path, count in (("events", 1), ("attempts", 2)):
        asked = {**DAY, "measures": "count"}
        answer = await world.client.get(f"metrics/{path}", params=asked, headers=headers)
        assert answer.json()["data"][0]["metrics"] == {"count": count}
        asked["filters[tenant_id]"] = "other"
        refused = await world.client.get(f"metrics/{path}", params=asked, headers=headers)
        assert refused.status_code == 403
