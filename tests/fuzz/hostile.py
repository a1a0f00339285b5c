"""Records that nobody who means well writes: real ones, with something in them gone wrong."""

import json
from typing import Any

from hypothesis import strategies as st

from event_router.schemas.record import Record
from event_router.schemas.topics import Topics
from event_router.schemas.wire import HEAD
from tests.store.history import START, TOPICS, History

NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2**31 - 1, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 2**64]),
    st.sampled_from([10**400, -0.0, 0.5, 1e18, 1e308, -1e308, 253_402_300_800_000]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
TEXTS = st.one_of(
    st.sampled_from(["", "\0", "a\0b", "\ud800", "a:b", "a/b", "x" * 2000, "\U0010ffff", "'; --"]),
    st.sampled_from(["delivered", "failed", "rejected", "*", "acme", "d1", "no_match"]),
    st.sampled_from(["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]),
    st.text(max_size=8),
)
OTHERS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.sampled_from([[], {}, [[]], ["a", 1, 2, 3], {"a": {"b": []}}])
)


@st.composite
def wrong(draw: st.DrawFn, right: Any) -> Any:
    """Mostly of the type that is right: what is of another one is easily refused."""
    alike = OTHERS
    if isinstance(right, int | float) and not isinstance(right, bool):
        alike = NUMBERS
    elif isinstance(right, str):
        alike = TEXTS
    return draw(alike if draw(st.integers(0, 4)) else st.one_of(NUMBERS, TEXTS, OTHERS))


def paths(value: Any, start: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [start]
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            found += paths(inner, (*start, key))
    return found


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """`value` with `new` at the path."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = put(value[path[0]], path[1:], new)
    return copied


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """JSON with wrong values in it, or cut, or with a byte changed."""
    value = json.loads(good)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(value)))
        value = put(value, path, draw(wrong(at(value, path))))
    raw = bytearray(json.dumps(value).encode())
    if draw(st.integers(0, 9)) == 0:
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    if draw(st.integers(0, 9)) == 0:
        del raw[draw(st.integers(0, len(raw))) :]
    return bytes(raw)


def _good() -> list[Record]:
    history = History()
    event = history.event(metadata={"a": "b"}, partition_key="p", destination="d1")
    delivery = history.delivery(event)
    for outcome in ("delivered", "failed", "rejected"):
        history.attempt(delivery, outcome, retry_after=5)
    history.routed(event, "no_match")
    history.dead(delivery)
    history.dead_record()
    return history.records


GOOD = _good()
OF_HEADS = [record for record in GOOD if record.header(HEAD) is not None]
ENVELOPE = json.dumps(
    {
        "tenant_id": "acme",
        "id": "e",
        "topic": "a",
        "destination_id": "d1",
        "eligible_for_retry": True,
        "time": "2026-01-01T00:00:00Z",
        "metadata": {"a": "b"},
        "partition_key": "p",
        "data": {"n": 1, "deep": {"a": [1, {"b": None}]}},
    }
).encode()
STRUCTURED = json.dumps(
    {
        "specversion": "1.0",
        "id": "e",
        "source": "/s",
        "type": "a",
        "tenantid": "acme",
        "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "destinationid": "d1",
        "retryeligible": "true",
        "partitionkey": "p",
        "data": {"n": 1},
    }
).encode()
TIMESTAMPS = st.sampled_from([START, -1, 0, 2**63 - 1, -(2**63), 253_402_300_799_999])


@st.composite
def spoilt_heads(draw: st.DrawFn) -> Record:
    """A record of `deliveries`, `attempts` or `dead`."""
    good = draw(st.sampled_from(OF_HEADS))
    head = draw(spoilt(good.header(HEAD) or b""))
    value = draw(st.one_of(st.none(), st.just(good.value), st.binary(max_size=20)))
    return _moved(draw, good, value, [(HEAD, head)])


@st.composite
def spoilt_events(draw: st.DrawFn, topics: Topics = TOPICS) -> Record:
    """A record of `events`, in one of the three forms."""
    good = GOOD[0]
    assert good.topic == topics.events
    form = draw(st.sampled_from(["binary", "structured", "envelope", "noise"]))
    if form == "binary":
        headers: list[tuple[str, bytes | None]] = []
        for name, text in good.headers:
            other = st.one_of(st.none(), st.binary(max_size=8), TEXTS.map(_utf8))
            headers.append((name, draw(other) if draw(st.integers(0, 4)) == 0 else text))
        return _moved(draw, good, draw(st.binary(max_size=20)), headers)
    if form == "noise":
        return _moved(draw, good, draw(st.one_of(st.none(), st.binary(max_size=60))), [])
    if form == "structured":
        kind = [("content-type", b"application/cloudevents+json")]
        return _moved(draw, good, draw(spoilt(STRUCTURED)), [*kind])
    return _moved(draw, good, draw(spoilt(ENVELOPE)), [("meta_a", draw(st.binary(max_size=4)))])


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _moved(
    draw: st.DrawFn, good: Record, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> Record:
    place = (good.topic, good.partition, draw(st.integers(0, 2**40)), draw(TIMESTAMPS))
    return Record(*place, good.key, value, headers)
