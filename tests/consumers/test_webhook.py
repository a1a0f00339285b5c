"""The webhook sink: its headers, its answers, its configuration."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from event_router.consumers.addresses import Resolver
from event_router.consumers.http1.sender import Sender
from event_router.consumers.http1.target import header_lines
from event_router.consumers.ports import Sink
from event_router.consumers.signing import key_of, new_secret
from event_router.consumers.sinks.kinds import SinkResources, load_sinks
from event_router.consumers.sinks.webhook import WebhookSink, seconds_to_wait
from event_router.schemas.errors import InvalidValue, Unavailable
from tests.receivers import OK, Request, answering, receiver, scripted
from tests.sinks import a_delivery, a_destination, local_resources, resources_with

NOW = 1_700_000_000.5


@pytest.fixture
async def resources() -> AsyncIterator[SinkResources]:
    async with local_resources(clock=lambda: NOW) as shared:
        yield shared


def webhook(resources: SinkResources, url: str, **more: Any) -> Sink:
    config = {"url": url, **more.pop("config", {})}
    credentials = more.pop("credentials", {"secret": new_secret()})
    destination = a_destination("webhook", config, credentials, **more)
    return load_sinks().open(destination, resources)


async def received(resources: SinkResources, delivery: dict[str, Any], **more: Any) -> Request:
    """The request that a delivery makes."""
    async with receiver() as server:
        await webhook(resources, server.url, **more).deliver(a_delivery(**delivery))
        (request,) = server.requests
        return request


async def test_the_payload_arrives_verbatim_and_signed(resources: SinkResources) -> None:
    secret = new_secret()
    data = b'{ "big": 12345678901234567890, "a":1.0 }\n'
    request = await received(resources, {"data": data}, credentials={"secret": secret})
    assert request.line == "POST / HTTP/1.1"
    assert request.body == data
    assert request.header("content-type") == "application/json"
    assert request.header("webhook-id") == "evt_1"
    assert request.header("webhook-timestamp") == "1700000000"
    assert request.header("webhook-topic") == "user.created"
    assert request.header("user-agent").startswith("event-router/")
    expected = Webhook(secret).sign("evt_1", _moment(1_700_000_000), data.decode())
    assert request.header("webhook-signature") == expected


async def test_a_content_type_is_passed_on(resources: SinkResources) -> None:
    request = await received(resources, {"content_type": "text/plain; charset=utf-8"})
    assert request.header("content-type") == "text/plain; charset=utf-8"


async def test_an_id_that_no_header_can_carry_is_percent_encoded_and_signed_so(
    resources: SinkResources,
) -> None:
    secret = new_secret()
    request = await received(
        resources, {"event": "ü 1%\r\nx: y", "data": b"{}"}, credentials={"secret": secret}
    )
    message_id = "%C3%BC%201%25%0D%0Ax:%20y"
    assert request.header("webhook-id") == message_id
    expected = Webhook(secret).sign(message_id, _moment(1_700_000_000), "{}")
    assert request.header("webhook-signature") == expected


async def test_both_secrets_sign_until_the_previous_one_ends(resources: SinkResources) -> None:
    rotation = {
        "secret": new_secret(),
        "previous_secret": new_secret(),
        "previous_secret_invalid_at": "2023-11-14T22:13:21Z",
    }
    request = await received(resources, {}, credentials=rotation)
    assert len(request.header("webhook-signature").split()) == 2
    rotation["previous_secret_invalid_at"] = "2023-11-14T22:13:20Z"
    request = await received(resources, {}, credentials=rotation)
    assert len(request.header("webhook-signature").split()) == 1


async def test_metadata_are_headers_and_the_events_own_win(resources: SinkResources) -> None:
    request = await received(
        resources,
        {"metadata": {"Trace": "abc", "both": "event"}},
        delivery_metadata={"both": "destination", "fixed": "1"},
    )
    assert request.header("webhook-trace") == "abc"
    assert request.header("webhook-both") == "event"
    assert request.header("webhook-fixed") == "1"


async def test_metadata_override_nothing_of_ours(resources: SinkResources) -> None:
    names = ["id", "Signature", "TIMESTAMP", "topic", "content-type", "host", "content-length"]
    request = await received(resources, {"metadata": dict.fromkeys(names, "evil")})
    ours = {"webhook-id", "webhook-signature", "webhook-timestamp", "webhook-topic"}
    for name in ours | {"content-type", "host", "content-length"}:
        assert request.header(name) != "evil"


async def test_metadata_that_cannot_be_a_header_are_left_out(resources: SinkResources) -> None:
    request = await received(
        resources,
        {"metadata": {"a": "x\r\ny: z", "b c": "x", "": "x", "d:": "x", "e": "", "f\n": "x",
                      "ä": "x", "g": " x", "h": "x\0", "good": "x"}},
    )  # fmt: skip
    names = {name for name, _ in request.headers}
    assert {name for name in names if name.startswith("webhook-")} == {
        "webhook-id", "webhook-signature", "webhook-timestamp", "webhook-topic", "webhook-good",
    }  # fmt: skip
    assert "y" not in names


METADATA = st.dictionaries(
    st.text() | st.sampled_from(["id", "Topic", "a", "A", "a\r\nb"]),
    st.text() | st.sampled_from(["x\r\ny: z", "x\nwebhook-id: z", "x\0"]),
)


@given(
    event=st.text(min_size=1),
    topic=st.text(),
    content_type=st.text(),
    metadata=METADATA,
    of_destination=METADATA,
)
def test_nothing_in_an_event_or_its_destination_adds_a_header_or_replaces_ours(
    event: str,
    topic: str,
    content_type: str,
    metadata: dict[str, str],
    of_destination: dict[str, str],
) -> None:
    sink = webhook(_without_network(), "http://a.example/", delivery_metadata=of_destination)
    assert isinstance(sink, WebhookSink)
    delivery = a_delivery(event, topic=topic, content_type=content_type, metadata=metadata)
    headers = sink._headers(delivery, NOW)
    lines = header_lines(headers).split(b"\r\n")
    names = [line.partition(b": ")[0].decode() for line in lines[:-1]]
    assert names == [name for name, _ in headers]
    assert len(set(names)) == len(names)
    assert {name for name in names if not name.startswith("webhook-")} == {"content-type"}
    assert all(name == name.lower() for name in names)


async def test_text_beyond_ascii_is_sent_as_utf_8(resources: SinkResources) -> None:
    request = await received(resources, {"metadata": {"city": "Zürich"}})
    assert request.header("webhook-city") == "Zürich"


async def test_custom_headers_are_added(resources: SinkResources) -> None:
    headers = {"custom_headers": '{"X-Api-Key": "k", "accept": "*/*"}'}
    request = await received(resources, {}, config=headers)
    assert request.header("x-api-key") == "k"
    assert request.header("accept") == "*/*"


async def test_every_2xx_is_success_and_its_body_is_kept(resources: SinkResources) -> None:
    async with receiver(b"HTTP/1.1 299 Fine\r\ncontent-length: 4\r\n\r\nbody") as server:
        answer = await webhook(resources, server.url).deliver(a_delivery())
        assert (answer.code, answer.status, answer.body) == ("299", 299, b"body")


@pytest.mark.parametrize("status", [300, 302, 304, 400, 401, 404, 410, 429, 500, 503, 599])
async def test_every_other_status_may_be_tried_again(resources: SinkResources, status: int) -> None:
    raw = b"HTTP/1.1 %d No\r\nlocation: /\r\ncontent-length: 2\r\n\r\nno" % status
    async with scripted(answering(raw)) as server:
        with pytest.raises(Unavailable) as caught:
            await webhook(resources, server.url).deliver(a_delivery())
    error = caught.value
    assert (error.code, error.retry_after) == (str(status), None)
    assert (error.answer.code, error.answer.status) == (str(status), status)
    assert error.answer.body == (b"" if status == 304 else b"no")


@pytest.mark.parametrize(("status", "expected"), [(429, 7.0), (503, 7.0), (500, None), (404, None)])
async def test_retry_after_counts_for_429_and_503(
    resources: SinkResources, status: int, expected: float | None
) -> None:
    raw = b"HTTP/1.1 %d No\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n" % status
    async with receiver(raw) as server:
        with pytest.raises(Unavailable) as caught:
            await webhook(resources, server.url).deliver(a_delivery())
    assert caught.value.retry_after == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b" 120 ", 120.0),
        (b"Tue, 14 Nov 2023 22:13:30 GMT", 9.5),
        (b"Tue, 14 Nov 2023 22:13:30", 9.5),
        (b"Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        (b"", None),
        (None, None),
        (b"-1", None),
        (b"1.5", None),
        (b"9" * 5000, None),
        (b"soon", None),
        (b"Tue, 99 Nov 99999 22:13:30 GMT", None),
        (b"\xff\xfe", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: bytes | None, seconds: float | None) -> None:
    assert seconds_to_wait(value, NOW) == seconds


async def test_an_attempt_has_one_deadline() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with scripted(never) as server, local_resources(timeout=0.1) as resources:
        with pytest.raises(Unavailable, match="timeout"):
            await webhook(resources, server.url).deliver(a_delivery())


async def test_a_closed_webhook_keeps_no_connection(resources: SinkResources) -> None:
    async with scripted(answering(OK)) as server:
        sink = webhook(resources, server.url)
        await sink.deliver(a_delivery())
        assert resources.sender.idle == 1
        await sink.aclose()
        assert resources.sender.idle == 0


# Configuration


def test_a_secret_is_made_up_when_none_is_given() -> None:
    checked = load_sinks().check("webhook", {"url": "https://example.com/x"}, {})
    assert checked.config == {"url": "https://example.com/x"}
    assert list(checked.credentials) == ["secret"]
    assert len(key_of(checked.credentials["secret"])) == 48


def test_what_was_checked_is_stored_and_checked_again_unchanged() -> None:
    sinks = load_sinks()
    config = {"url": "https://example.com/x", "custom_headers": '{"a": "b"}'}
    credentials = {
        "secret": new_secret(),
        "previous_secret": new_secret(),
        "previous_secret_invalid_at": "2026-01-01T00:00:00Z",
    }
    checked = sinks.check("webhook", config, credentials)
    assert checked == (config, credentials)
    assert sinks.check("webhook", *json.loads(json.dumps(checked))) == checked


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "ftp://example.com/", "http://", "http:///x", "http://a b/",
        "http://user:secret@example.com/", "http://example.com:0/", "http://example.com:99999/",
        "http://example.com:x/", "http://[::1", "http://[fe80::1%25eth0]/", "http://-/",
        "http://exa mple.com/", "http://example.com/\r\nx: y", "http://a..b/", "http://[127.0.0.1]/",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidValue, match=r"an http or https URL") as caught:
        load_sinks().check("webhook", {"url": url}, {})
    assert caught.value.field == "config.url"
    assert "it has a user" in str(caught.value) or "user:" not in url


@pytest.mark.parametrize(
    "headers",
    [
        "x", "[]", "3", '{"a": 1}', '{"a": ""}', '{"a": "x\\r\\ny: z"}', '{"a b": "x"}',
        '{"": "x"}', '{"Host": "x"}', '{"connection": "close"}', '{"Content-Length": "3"}',
        '{"content-type": "x"}', '{"transfer-encoding": "chunked"}', '{"Webhook-Id": "x"}',
        '{"webhook-anything": "x"}', '{"user-agent": "x"}', '{"proxy-authorization": "x"}',
        json.dumps({"a": "x" * 5000}),
    ],
)  # fmt: skip
def test_custom_headers_that_cannot_be_are_refused_by_name(headers: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        load_sinks().check("webhook", {"url": "http://a.b/", "custom_headers": headers}, {})
    assert caught.value.field == "config.custom_headers"


@pytest.mark.parametrize(
    ("credentials", "field"),
    [
        ({"secret": "hunter2"}, "credentials.secret"),
        ({"secret": 12345}, "credentials.secret"),
        ({"previous_secret": "hunter2"}, "credentials.previous_secret"),
        ({"previous_secret": new_secret()}, "credentials"),
        ({"previous_secret_invalid_at": "hunter2"}, "credentials.previous_secret_invalid_at"),
        ({"secrt": "hunter2"}, "credentials.secrt"),
    ],
)
def test_credentials_that_cannot_be_are_refused_and_not_shown(
    credentials: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        load_sinks().check("webhook", {"url": "http://a.b/"}, credentials)
    assert caught.value.field == field
    assert "hunter2" not in str(caught.value)
    assert new_secret()[:6] not in str(caught.value).replace("whsec_ and", "")


def _without_network() -> SinkResources:
    return resources_with(cast("Sender", None), cast("Resolver", None))


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
