"""The two modes of webhooks: headers and signatures as those who receive them check them."""

import dataclasses
import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook

from event_router.consumers.open_sinks import OpenSinks
from event_router.consumers.signing import new_secret
from event_router.consumers.sinks.kinds import SinkResources, load_sinks
from event_router.consumers.sinks.webhook_style import OUTPOST, STANDARD, WebhookStyle, read_names
from event_router.schemas.errors import InvalidValue, Rejected
from tests.receivers import Request, receiver
from tests.sinks import a_delivery, a_destination, local_resources

NOW = 1_700_000_000.5
URL = {"url": "https://a.example/"}


@pytest.fixture
async def resources() -> AsyncIterator[SinkResources]:
    async with local_resources(clock=lambda: NOW) as shared:
        yield shared


async def received(
    resources: SinkResources,
    style: WebhookStyle,
    delivery: dict[str, Any] | None = None,
    *,
    credentials: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    **more: Any,
) -> Request:
    styled = dataclasses.replace(resources, webhooks=style)
    async with receiver() as server:
        secrets = credentials or {"secret": new_secret()}
        where = {"url": server.url, **(config or {})}
        sink = load_sinks(style).open(a_destination("webhook", where, secrets, **more), styled)
        await sink.deliver(a_delivery(**(delivery or {})))
        (request,) = server.requests
        return request


def ours(request: Request, prefix: str) -> dict[str, str]:
    return {name: value for name, value in request.headers if name.startswith(prefix)}


def hex_of(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def test_outposts_headers_are_sent_one_for_one(resources: SinkResources) -> None:
    body = b'{ "big": 12345678901234567890 }'
    request = await received(
        resources,
        OUTPOST,
        {"data": body, "metadata": {"Trace": "abc", "id": "theirs"}},
        credentials={"secret": "whsec_s3cret"},
    )
    assert ours(request, "x-outpost-") == {
        "x-outpost-event-id": "evt_1",
        "x-outpost-timestamp": "2023-11-14T22:13:20Z",
        "x-outpost-topic": "user.created",
        "x-outpost-signature": "v0=" + hex_of("whsec_s3cret", body),
        "x-outpost-trace": "abc",
        "x-outpost-id": "theirs",
    }
    assert not ours(request, "webhook-")
    assert request.body == body


async def test_outposts_signature_lists_the_current_secret_first(resources: SinkResources) -> None:
    rotation = {
        "secret": "new",
        "previous_secret": "old",
        "previous_secret_invalid_at": "2023-11-14T22:13:21Z",
    }
    request = await received(resources, OUTPOST, {"data": b"{}"}, credentials=rotation)
    expected = f"v0={hex_of('new', b'{}')},{hex_of('old', b'{}')}"
    assert request.header("x-outpost-signature") == expected


@pytest.mark.parametrize("mode", ["standard", "outpost"])
async def test_the_prefix_of_all_our_headers_can_be_chosen(
    resources: SinkResources, mode: Any
) -> None:
    style = WebhookStyle.of(mode, "X-Acme-")
    request = await received(resources, style, {"metadata": {"trace": "abc"}})
    names = set(ours(request, "x-acme-"))
    own = {f"x-acme-{name}" for name in style.own_names}
    assert names == own | {"x-acme-trace"}
    assert not ours(request, "webhook-")
    assert not ours(request, "x-outpost-")


async def test_the_names_of_our_headers_can_be_chosen(resources: SinkResources) -> None:
    names = read_names(["id=Event", "signature=sig"])
    request = await received(resources, WebhookStyle.of("standard", "x-acme-", names), {})
    expected = {"x-acme-event", "x-acme-timestamp", "x-acme-sig", "x-acme-topic"}
    assert set(ours(request, "x-acme-")) == expected


@pytest.mark.parametrize(
    "names", [["id=topic"], ["id=length"], ["subject=s"], ["id=a:b"], ["id="], ["id"]]
)
def test_names_that_collide_or_frame_the_request_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidValue):
        WebhookStyle.of("standard", "content-", read_names(names))


@pytest.mark.parametrize(
    ("style", "evil"),
    [
        (STANDARD, ["id", "Signature", "TIMESTAMP", "topic"]),
        (OUTPOST, ["event-id", "Signature", "TIMESTAMP", "topic"]),
        (WebhookStyle.of("standard", names={"id": "event"}), ["Event", "topic"]),
        (WebhookStyle.of("outpost", "content-"), ["type", "length", "Signature"]),
        (WebhookStyle.of("standard", "transfer-"), ["encoding"]),
        (WebhookStyle.of("standard", "h"), ["ost"]),
    ],
)
async def test_metadata_replace_nothing_of_system_signature_or_framing(
    resources: SinkResources, style: WebhookStyle, evil: list[str]
) -> None:
    metadata = dict.fromkeys(evil, "evil")
    request = await received(resources, style, {"metadata": metadata}, delivery_metadata=metadata)
    assert "evil" not in {value for _, value in request.headers}


async def test_an_events_metadata_win_however_they_are_spelled(resources: SinkResources) -> None:
    request = await received(
        resources,
        STANDARD,
        {"metadata": {"TRACE": "event"}},
        delivery_metadata={"trace": "destination", "Trace": "destination", "fixed": "1"},
    )
    assert [value for name, value in request.headers if name == "webhook-trace"] == ["event"]
    assert request.header("webhook-fixed") == "1"


async def test_custom_headers_from_another_prefixs_time_do_not_become_ours(
    resources: SinkResources,
) -> None:
    custom = {"custom_headers": '{"X-Outpost-Signature": "v0=evil", "x-api-key": "k"}'}
    assert load_sinks(STANDARD).check("webhook", {**URL, **custom}, {})
    request = await received(resources, OUTPOST, config=custom)
    assert "evil" not in request.header("x-outpost-signature")
    assert request.header("x-api-key") == "k"


@pytest.mark.parametrize(
    ("style", "name"), [(STANDARD, "Webhook-X"), (OUTPOST, "X-Outpost-Signature")]
)
def test_custom_headers_with_our_prefix_are_refused(style: WebhookStyle, name: str) -> None:
    config = {**URL, "custom_headers": f'{{"{name}": "x"}}'}
    with pytest.raises(InvalidValue, match=name):
        load_sinks(style).check("webhook", config, {})


def test_outpost_takes_any_text_as_a_secret_and_standard_does_not() -> None:
    secret = {"secret": "hunter2"}
    assert load_sinks(OUTPOST).check("webhook", URL, secret).credentials == secret
    with pytest.raises(InvalidValue, match=r"credentials\.secret"):
        load_sinks(OUTPOST).check("webhook", URL, {"secret": " "})
    with pytest.raises(InvalidValue, match=r"credentials\.secret"):
        load_sinks(STANDARD).check("webhook", URL, secret)


async def test_a_secret_that_cannot_sign_in_this_mode_is_no_valid_config(
    resources: SinkResources,
) -> None:
    with pytest.raises(Rejected) as caught:
        load_sinks(STANDARD).open(a_destination("webhook", URL, {"secret": "hunter2"}), resources)
    assert caught.value.code == "invalid_config"
    assert "hunter2" not in str(caught.value)


async def test_a_secret_that_we_made_up_is_good_in_both_modes(resources: SinkResources) -> None:
    credentials = load_sinks(OUTPOST).check("webhook", URL, {}).credentials
    secret = credentials["secret"]
    request = await received(resources, OUTPOST, {"data": b"{}"}, credentials=credentials)
    assert request.header("x-outpost-signature") == "v0=" + hex_of(secret, b"{}")
    request = await received(resources, STANDARD, {"data": b"{}"}, credentials=credentials)
    expected = Webhook(secret).sign("evt_1", datetime.fromtimestamp(1_700_000_000, UTC), "{}")
    assert request.header("webhook-signature") == expected


async def test_a_rotated_secret_signs_the_very_next_attempt(resources: SinkResources) -> None:
    styled = dataclasses.replace(resources, webhooks=OUTPOST)
    types = load_sinks(OUTPOST)
    opened = OpenSinks(lambda destination: types.open(destination, styled))
    async with receiver() as server:
        before = a_destination("webhook", {"url": server.url}, {"secret": "old"})
        patch = {"rotate_secret": True}
        credentials = types.merge_credentials(
            "webhook", before.credentials, patch, int(NOW * 1000), admin=False
        )
        after = msgspec.structs.replace(before, credentials=credentials, version="v2")
        for destination in (before, after):
            async with opened.lend(destination) as sink:
                await sink.deliver(a_delivery(data=b"{}"))
        signatures = [request.header("x-outpost-signature") for request in server.requests]
    await opened.aclose()
    old, new = hex_of("old", b"{}"), hex_of(credentials["secret"], b"{}")
    assert signatures == [f"v0={old}", f"v0={new},{old}"]
