"""Nothing that people or producers name adds, ends or replaces a header of ours; webhooks have
their own test of it, in test_webhook."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.consumers.addresses import Resolver
from event_router.consumers.http1.sender import Sender
from event_router.consumers.http1.target import header_lines
from event_router.consumers.sinks.hookdeck import PREFIX
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.nats import Nats
from event_router.consumers.sinks.webhook import sendable_headers
from event_router.consumers.testing.values import a_delivery, a_destination, resources_with

OURS = ("event-id", "topic", "timestamp", "content-type")
NAMES = st.one_of(
    st.sampled_from([*OURS, *(name.title() for name in OURS), *(name.upper() for name in OURS)]),
    st.sampled_from(["a", "A", "a\r\nb", "a: b", "\u212a", "nats-rollup", "Nats-Msg-Id", ""]),
    st.text(),
)
VALUES = st.one_of(st.just("evil"), st.just("x\r\ny: z"), st.just("x\n\nbody"), st.text())
METADATA = st.dictionaries(NAMES, VALUES)
NO_CONTROLS = st.text(
    st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=60
)  # as the decoder takes ids and topics


@given(of_event=METADATA, fixed=METADATA, event=NO_CONTROLS, topic=NO_CONTROLS)
def test_no_header_of_an_http_service_is_anyone_elses(
    of_event: dict[str, str], fixed: dict[str, str], event: str, topic: str
) -> None:
    delivery = a_delivery(event, topic=topic, metadata=of_event)
    headers = sendable_headers(PREFIX, merged_metadata(fixed, delivery.head))
    lines = header_lines(headers).split(b"\r\n")
    names = [line.partition(b": ")[0].decode() for line in lines[:-1]]
    assert names == [name for name, _ in headers]
    assert len(set(names)) == len(names)
    sent = dict(headers)
    assert sent["content-type"] == "application/json"
    assert sent[f"{PREFIX}timestamp"] == delivery.head.time
    assert "evil" not in (sent[f"{PREFIX}event-id"], sent[f"{PREFIX}topic"]) or "evil" in (
        event,
        topic,
    )


@pytest.fixture(scope="module")
def nats() -> Nats:
    destination = a_destination("nats", {"server": "127.0.0.1:1", "subject": "s"}, {})
    resources = resources_with(cast("Sender", None), cast("Resolver", None))
    sink = load_sinks().open(destination, resources)
    assert isinstance(sink, Nats)
    return sink


@given(of_event=METADATA, event=NO_CONTROLS, topic=NO_CONTROLS)
def test_no_header_of_nats_ends_early_or_commands_the_stream(
    nats: Nats, of_event: dict[str, str], event: str, topic: str
) -> None:
    headers = nats._headers(a_delivery(event, topic=topic, metadata=of_event).head)
    for name, value in headers.items():
        assert not set(name + value) & set("\r\n\0"), (name, value)
        assert ":" not in name
    commands = {name.lower() for name in headers if name.lower().startswith("nats-")}
    assert commands == {"nats-msg-id"}
    assert headers["Nats-Msg-Id"] == f"one/{event}/0"
    assert headers["timestamp"] == "2026-01-01T00:00:00Z"
