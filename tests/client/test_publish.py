"""Publishing one event: what is sent, what comes back, what is tried again."""

import asyncio
import inspect
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pandas as pd
import pytest

from event_router.client import (
    APIError,
    AsyncClient,
    BadArgument,
    BadRequestError,
    Client,
    InternalServerError,
    NoAnswer,
    NotFoundError,
    Published,
    RateLimitedError,
    Retries,
    TimeoutErrorT,
    TimestampFormat,
    UnauthorizedError,
)
from event_router.client.exchange import Answer, Pause, Request
from event_router.client.retries import NO_RETRIES, retried, retry_after
from event_router.schemas.errors import EventRouterError
from tests.client.routers import KEY, FakeRouter, blocking, done

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
STATUSES: dict[type[APIError], tuple[int, ...]] = {
    NotFoundError: (404, 501, 505),
    UnauthorizedError: (401, 403, 407, 511),
    TimeoutErrorT: (408, 504),
    RateLimitedError: (429,),
    BadRequestError: (413, 414, 415, 422, 431, 510),
    InternalServerError: (500, 502, 503, 506, 507, 508),
    APIError: (301, 304, 400, 402, 405, 406, 409, 410, 418, 451, 499, 509, 520, 599),
}


async def test_an_event_is_sent_with_all_that_was_given(client: Any, router: FakeRouter) -> None:
    published = await done(
        client.publish.event(
            {"amount": 999},
            id="e1",
            tenant_id="acme",
            destination_id="d1",
            topic="order.created",
            eligible_for_retry=False,
            metadata={"a": "b"},
        )
    )
    assert published == Published("e1", duplicate=False, destination_ids=("d1",))
    (request,) = router.requests
    assert (request.method, request.url.path) == ("POST", "/api/v1/publish")
    assert json.loads(request.content) == {
        "id": "e1",
        "tenant_id": "acme",
        "destination_id": "d1",
        "topic": "order.created",
        "eligible_for_retry": False,
        "metadata": {"a": "b"},
        "data": {"amount": 999},
    }


async def test_bytes_are_delivered_as_they_are(client: Any, router: FakeRouter) -> None:
    await done(client.publish.event(b'{"b":  1.0}', id="e1", tenant_id="acme"))
    assert b'"data":{"b":  1.0}' in router.requests[0].content


async def test_an_id_is_made_before_the_first_try(client: Any, router: FakeRouter) -> None:
    router.troubles = [httpx.ReadTimeout("late"), httpx.Response(503), httpx.ConnectError("no")]
    published = await done(client.publish.event({}, tenant_id="acme"))
    assert [body["id"] for body in router.bodies()] == [published.id] * 4


@pytest.mark.parametrize(
    ("status", "kind"), [(status, kind) for kind, of_it in STATUSES.items() for status in of_it]
)
def test_a_status_has_its_error_class(status: int, kind: type[APIError]) -> None:
    body = {"status": status, "message": "no", "data": ["topic is required"]}
    client = blocking(FakeRouter([httpx.Response(status, json=body)]), NO_RETRIES)
    with pytest.raises(APIError, match=f"{status} no: .*topic is required") as caught:
        client.publish.event({}, tenant_id="acme")
    assert type(caught.value) is kind
    assert (caught.value.status_code, caught.value.data) == (status, ["topic is required"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"code": 404, "message": "unknown", "errors": []}}', "404 unknown$"),
        (b'{"error": {"message": "a", "errors": [{"message": "a"}]}}', "404 a$"),
        (b'{"error": {"message": "a", "errors": [{"message": "b"}]}}', "404 a: .'b'.$"),
        (b"<html>", "404 <html>"),
        (b"", "404 no reason was given"),
        (b"[1]", "404 "),
        (b"\xff", "404 "),
    ],
)
def test_an_error_says_what_the_answer_said_whatever_its_shape(body: bytes, message: str) -> None:
    client = blocking(FakeRouter([httpx.Response(404, content=body)]))
    with pytest.raises(NotFoundError, match=message):
        client.publish.event({}, tenant_id="acme")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_work_later_is_tried_again(
    client: Any, router: FakeRouter, status: int
) -> None:
    router.troubles = [httpx.Response(status)] * 2
    await done(client.publish.event({}, tenant_id="acme"))
    assert len(router.requests) == 3


async def test_what_can_never_work_is_not_tried_again(client: Any, router: FakeRouter) -> None:
    router.troubles = [httpx.Response(422, json={"message": "validation error"})]
    with pytest.raises(BadRequestError):
        await done(client.publish.event({}, tenant_id="acme"))
    assert len(router.requests) == 1


async def test_when_retries_are_spent_the_last_trouble_is_raised(
    client: Any, router: FakeRouter
) -> None:
    router.troubles = [httpx.Response(503), httpx.ConnectError("refused")]
    with pytest.raises(NoAnswer, match=r"unreachable: http://router: refused"):
        await done(client.publish.event({}, tenant_id="acme", retries=Retries(2, first=0)))
    assert len(router.requests) == 2


async def test_an_answer_of_somebody_else_is_an_error_of_ours(
    client: Any, router: FakeRouter
) -> None:
    router.troubles = [httpx.Response(200, content=b"<html>hello</html>")]
    with pytest.raises(APIError, match="not an answer of the router"):
        await done(client.publish.event({}, tenant_id="acme"))


def _waits(answers: list[Answer | NoAnswer], retries: Retries) -> list[float]:
    """The pauses that are asked for before it ends, one way or the other."""
    waits = []
    call = retried(Request("POST", "/"), retries)
    effect = next(call)
    try:
        while True:
            if isinstance(effect, Pause):
                waits.append(effect.seconds)
                effect = call.send(None)
                continue
            answer = answers.pop(0)
            effect = call.send(answer) if isinstance(answer, Answer) else call.throw(answer)
    except (StopIteration, EventRouterError):
        return waits


def test_waits_grow_and_are_drawn_from_all_of_their_length() -> None:
    retries = Retries(tries=6, first=1.0, longest=5.0)
    assert list(retries.waits(lambda: 1.0)) == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert list(retries.waits(lambda: 0.0)) == [0.0] * 5


def test_a_retry_after_is_waited_for_first() -> None:
    busy = Answer(429, headers={"retry-after": "7"})
    assert _waits([busy, Answer(202)], Retries(first=0)) == [7.0]


def test_a_retry_after_beyond_the_patience_is_not_waited_for() -> None:
    busy = Answer(429, headers={"retry-after": "7"})
    assert _waits([busy, busy, busy], Retries(first=0, patience=20)) == [7.0, 7.0]
    assert _waits([busy], Retries(first=0, patience=5)) == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("Sat, 31 Jan 2026 12:00:09 GMT", 9.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
    ],
)
def test_both_forms_of_retry_after_are_read(header: str, seconds: float | None) -> None:
    assert retry_after(Answer(429, headers={"retry-after": header}), NOW) == seconds


async def test_publish_event_sends_every_parameter(client: Any, router: FakeRouter) -> None:
    published = await done(
        client.publish_event(
            "acme",
            "orders",
            {"amount": "9"},
            event_id="e1",
            update_event=True,
            event_timestamp=1_637_344_470,
            timestamp_format=TimestampFormat.EPOCH_SECONDS,
            casting_type=True,
        )
    )
    (request,) = router.requests
    assert request.url.raw_path == b"/v2/events/router:acme:orders/ingest/event"
    body = json.loads(request.content)
    assert body.pop("update_id") == published
    assert body == {
        "event": {"amount": "9"},
        "event_id": "e1",
        "id_field": None,
        "is_update": True,
        "event_timestamp": 1_637_344_470,
        "timestamp_format": "epoch seconds",
        "casting_type": True,
        "dry_run": False,
    }


async def test_publish_event_acknowledges_with_the_events_id(
    client: Any, router: FakeRouter
) -> None:
    router.troubles = [httpx.Response(502)]
    published = await done(client.publish_event("acme", "orders", {"amount": 9}))
    assert [body["event_id"] for body in router.bodies()] == [published] * 2
    assert await done(client.publish_event("acme", "orders", {}, event_id="e1")) == "e1"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (np.int64(1_637_344_470), 1_637_344_470),
        (np.datetime64("2021-11-19T17:54:30"), "2021-11-19T17:54:30"),
        (pd.Timestamp("2021-11-19 17:54:30", tz="UTC"), "2021-11-19T17:54:30+00:00"),
        (datetime(2021, 11, 19, 17, 54, 30, tzinfo=UTC), "2021-11-19T17:54:30Z"),
        (1_637_344_470.5, 1_637_344_470.5),
        (None, None),
    ],
)
def test_a_timestamp_may_be_whatever_holds_a_time(
    router: FakeRouter, given: Any, sent: object
) -> None:
    blocking(router).publish_event("acme", "orders", {}, event_timestamp=given)
    assert router.bodies()[0]["event_timestamp"] == sent


async def test_a_dry_run_leaves_the_timestamp_to_the_report(
    client: Any, router: FakeRouter
) -> None:
    await done(client.publish_event("acme", "orders", {}, event_timestamp="soon", dry_run=True))
    assert router.bodies()[0]["event_timestamp"] == "soon"


async def test_a_dry_run_returns_the_report_as_json(client: Any) -> None:
    report = await done(client.publish_event("acme", "orders", {"x": 1}, dry_run=True))
    assert json.loads(report) == [{"type": "warning", "field": "x", "desc": "unknown"}]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"project_id": "P 1"}, "project_id: 'P 1' is not 2 to 30 of"),
        ({"model_id": "9"}, "model_id"),
        ({"event": None}, "event: None is not an object"),
        ({"update_event": True}, "event_id: None is not the id of the event"),
        ({"event_timestamp": "yesterday"}, "event_timestamp: 'yesterday' is not a time"),
        ({"event_timestamp": object()}, "event_timestamp: .* is not"),
        ({"event_timestamp": Decimal(1)}, "event_timestamp: .* is not a time"),
        ({"timestamp_format": "roman"}, "timestamp_format: 'roman' is not one of"),
        ({"event": {"a": object()}}, "event: .* is not JSON"),
    ],
)
async def test_what_cant_be_right_is_refused_before_anything_is_sent(
    client: Any, router: FakeRouter, given: dict[str, Any], said: str
) -> None:
    arguments = {"project_id": "acme", "model_id": "orders", "event": {}, **given}
    with pytest.raises(ValueError, match=said) as caught:
        await done(client.publish_event(**arguments))
    assert isinstance(caught.value, BadArgument)
    assert router.requests == []


@pytest.mark.parametrize(
    "url", ["http://h:1", "http://h:1/", "http://h:1/api/v1", "http://h:1/api/v1/"]
)
def test_the_url_is_taken_with_and_without_the_version(url: str) -> None:
    router = FakeRouter()
    http = httpx.Client(transport=httpx.MockTransport(router))
    with Client(url, KEY, http=http) as client:
        client.publish.event({}, tenant_id="acme")
    assert str(router.requests[0].url) == "http://h:1/api/v1/publish"


@pytest.mark.parametrize("url", ["127.0.0.1:3333", "ftp://h", "http://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadArgument, match="url"):
        Client(url, KEY)


@pytest.mark.parametrize("key", ["a\nb", "ключ"])
def test_a_key_that_cant_be_one_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadArgument, match=r"api_key: '\*\*\*'"):
        Client("http://h", key)


def test_both_clients_have_the_same_calls() -> None:
    def of(client: type) -> set[str]:
        return {name for name in vars(client) if not name.startswith("__")}

    assert of(Client) == of(AsyncClient)
    for name in of(Client) - {"close"}:
        assert inspect.signature(getattr(Client, name)) == inspect.signature(
            getattr(AsyncClient, name)
        )


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError(request)

    http = httpx.AsyncClient(transport=httpx.MockTransport(never))
    async with AsyncClient("http://h", KEY, http=http) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.publish.event({}, tenant_id="acme")


@pytest.mark.parametrize(
    "missing",
    ["", float("nan"), np.float64("nan"), pd.NA, pd.NaT, 1.5, True, b"x", [], Decimal(1)],
    ids=repr,
)
async def test_what_is_no_id_is_refused_and_not_replaced(
    client: Any, router: FakeRouter, missing: Any
) -> None:
    with pytest.raises(BadArgument, match=r"^id: "):
        await done(client.publish.event({"a": 1}, tenant_id="acme", topic="orders", id=missing))
    with pytest.raises(BadArgument, match=r"^event_id: "):
        await done(client.publish_event("acme", "orders", {"a": 1}, event_id=missing))
    assert router.requests == []


@pytest.mark.parametrize(
    "given",
    ["7", 7, np.int64(7), UUID(int=7)],
    ids=repr,
)
async def test_an_id_travels_as_text(client: Any, router: FakeRouter, given: Any) -> None:
    await done(client.publish.event({"a": 1}, tenant_id="acme", topic="orders", id=given))
    assert router.bodies()[0]["id"] == str(given)


async def test_the_ids_of_a_column_with_gaps_are_whole_numbers(
    client: Any, router: FakeRouter
) -> None:
    first, gap, large = pd.Series([1, None, 2**53 + 1])
    await done(client.publish_event("acme", "orders", {"a": 1}, event_id=first))
    assert router.bodies()[0]["event_id"] == "1"
    with pytest.raises(BadArgument, match="event_id: nan is not a text"):
        await done(client.publish_event("acme", "orders", {"a": 1}, event_id=gap))
    with pytest.raises(BadArgument, match=r"event_id: 9\d+\.0 is not exact"):
        await done(client.publish_event("acme", "orders", {"a": 1}, event_id=large))


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("unset", [None, "", 5], ids=repr)
def test_a_key_or_a_url_that_is_not_set_is_named(kind: Any, unset: Any) -> None:
    with pytest.raises(BadArgument, match=r"api_key: .* ROUTER_API_KEY"):
        kind("http://router", api_key=unset)
    with pytest.raises(BadArgument, match=r"url: "):
        kind(unset, api_key=KEY)
