"""What is an event, in each of its three forms, and what goes to `dead` and why."""

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.decode import checked_time, decode_event, rfc3339
from event_router.schemas.errors import InvalidValue, Undecodable
from event_router.schemas.event import Event
from event_router.schemas.record import Headers, Place, Record

MOMENT = 1_769_860_800_123
BINARY: dict[str, bytes | None] = {
    "ce_specversion": b"1.0",
    "ce_id": b"e-1",
    "ce_source": b"/shop",
    "ce_type": b"order.paid",
    "ce_tenantid": b"acme",
}
STRUCTURED = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/shop",
    "type": "order.paid",
    "tenantid": "acme",
}


def record(
    value: bytes | None,
    headers: Headers = (),
    *,
    timestamp: int = MOMENT,
    offset: int = 7,
) -> Record:
    return Record("events", 3, offset, timestamp, b"key", value, headers)


def binary(value: bytes = b"{}", /, **changed: bytes | None) -> Record:
    headers = BINARY | {"ce_" + name: text for name, text in changed.items()}
    return record(value, list(headers.items()))


def structured(
    content_type: bytes = b"application/cloudevents+json", /, **changed: object
) -> Record:
    body = STRUCTURED | {"data": {"a": 1}} | changed
    return record(json.dumps(body).encode(), [("content-type", content_type)])


def envelope(headers: Headers = (), /, **changed: object) -> Record:
    return record(json.dumps({"tenant_id": "acme", "data": {}} | changed).encode(), headers)


def reason_of(undecodable: Record) -> str:
    with pytest.raises(Undecodable) as caught:
        decode_event(undecodable)
    return caught.value.reason


# -- binary mode ------------------------------------------------------------------------------


def test_a_binary_cloudevent_has_its_attributes_in_headers_and_its_payload_as_the_value() -> None:
    headers: Headers = [
        *BINARY.items(),
        ("content-type", b"text/plain; charset=utf-8"),
        ("ce_time", b"2026-01-31T12:00:00.123456789+01:00"),
        ("ce_destinationid", b"d-1"),
        ("ce_retryeligible", b"false"),
        ("ce_partitionkey", b"customer-1"),
        ("meta_trace", "ß".encode()),
        ("ce_unknown", b"\xff is nobody's business"),
        ("other", b"\xff"),
    ]
    assert decode_event(record(b"hello", headers)) == Event(
        tenant="acme",
        id="e-1",
        source="/shop",
        topic="order.paid",
        time="2026-01-31T12:00:00.123456789+01:00",
        data=b"hello",
        origin=Place("events", 3, 7, MOMENT),
        content_type="text/plain; charset=utf-8",
        metadata={"trace": "ß"},
        destination="d-1",
        retry=False,
        partition_key="customer-1",
        deduplicate=True,
    )


def test_without_a_content_type_a_binary_payload_is_just_bytes() -> None:
    assert decode_event(binary(b"\x00\xff")).content_type == "application/octet-stream"
    assert decode_event(binary(b"\x00\xff")).data == b"\x00\xff"
    assert decode_event(binary(b"")).data == b""


def test_header_values_of_the_kafka_binding_are_not_percent_encoded() -> None:
    assert decode_event(binary(id=b"50%25")).id == "50%25"


def test_of_headers_with_the_same_name_the_last_one_counts() -> None:
    twice = [*BINARY.items(), ("ce_id", b"second"), ("meta_a", b"1"), ("meta_a", b"2")]
    event = decode_event(record(b"", twice))
    assert (event.id, event.metadata) == ("second", {"a": "2"})


def test_a_null_header_is_an_absent_one() -> None:
    assert reason_of(binary(id=None)) == "missing_id"
    assert decode_event(binary(time=None)).time == "2026-01-31T12:00:00.123Z"
    assert decode_event(record(b"{}", [*BINARY.items(), ("meta_a", None)])).metadata == {}


@pytest.mark.parametrize("name", ["id", "source", "type", "tenantid"])
def test_a_required_attribute_that_is_missing_or_empty_is_named(name: str) -> None:
    assert reason_of(binary(**{name: None})) == f"missing_{name}"
    assert reason_of(binary(**{name: b""})) == f"missing_{name}"
    assert reason_of(structured(**{name: None})) == f"missing_{name}"
    assert reason_of(structured(**{name: ""})) == f"missing_{name}"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("specversion", b"0.3", "invalid_specversion"),
        ("tenantid", b"a/b", "invalid_tenant"),
        ("tenantid", b"a" * 129, "invalid_tenant"),
        ("tenantid", b"acme\n", "invalid_tenant"),
        ("id", b"x" * 257, "invalid_id"),
        ("id", "é".encode() * 129, "invalid_id"),
        ("id", b"a\x00b", "invalid_id"),
        ("source", b"a\nb", "invalid_source"),
        ("type", "\x85".encode(), "invalid_topic"),
        ("type", b"t" * 1025, "invalid_topic"),
        ("destinationid", b"", "invalid_destination_id"),
        ("destinationid", b"a b", "invalid_destination_id"),
        ("retryeligible", b"no", "invalid_retryeligible"),
        ("generatedid", b"1", "invalid_generatedid"),
        ("partitionkey", b"\x7f", "invalid_partition_key"),
        ("time", b"yesterday", "invalid_time"),
        ("time", b"", "invalid_time"),
        ("id", b"\xff", "invalid_utf8"),
        ("id", b"\xed\xa0\x80", "invalid_utf8"),
    ],
)
def test_an_attribute_that_cannot_be_right_is_the_reason(
    name: str, value: bytes, reason: str
) -> None:
    assert reason_of(binary(**{name: value})) == reason


def test_metadata_that_is_not_utf8_is_undecodable() -> None:
    assert reason_of(record(b"{}", [*BINARY.items(), ("meta_a", b"\xff")])) == "invalid_utf8"


def test_a_content_type_that_would_be_two_headers_is_undecodable() -> None:
    torn = [*BINARY.items(), ("content-type", b"text/plain\r\nx-evil: 1")]
    assert reason_of(record(b"{}", torn)) == "invalid_content_type"


def test_a_generated_id_does_not_count_as_a_clients_choice() -> None:
    assert decode_event(binary()).deduplicate
    assert not decode_event(binary(generatedid=b"TRUE")).deduplicate


# -- structured mode ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/cloudevents+json",
        b"Application/CloudEvents+JSON; charset=UTF-8",
        b" application/cloudevents+json ;charset=utf-8",
    ],
)
def test_structured_mode_is_told_by_the_content_type_in_any_case(content_type: bytes) -> None:
    event = decode_event(structured(content_type, time="2026-01-31T12:00:00Z", partitionkey="k"))
    assert (event.tenant, event.id, event.source, event.topic) == (
        "acme",
        "e-1",
        "/shop",
        "order.paid",
    )
    assert event.time == "2026-01-31T12:00:00Z"
    assert (event.content_type, event.partition_key) == ("application/json", "k")


def test_structured_mode_wins_over_binary_headers() -> None:
    both = structured(id="from the value")
    headers = [*BINARY.items(), *both.headers]
    assert both.value is not None
    assert decode_event(record(both.value, headers)).id == "from the value"


@pytest.mark.parametrize("form", [b"-batch+json", b"+avro", b"+jsonl", b""])
def test_other_forms_of_cloudevents_are_not_read(form: bytes) -> None:
    assert reason_of(structured(b"application/cloudevents" + form)) == "unsupported_format"


@pytest.mark.parametrize(
    "name", ["time", "destinationid", "retryeligible", "partitionkey", "generatedid"]
)
def test_a_null_attribute_is_an_unset_one(name: str) -> None:
    assert decode_event(structured(**{name: None})) == decode_event(
        record(structured().value, structured().headers)
    )


def test_flags_are_booleans_or_texts_in_structured_mode() -> None:
    assert not decode_event(structured(retryeligible=False)).retry
    assert not decode_event(structured(retryeligible="False")).retry
    assert not decode_event(structured(generatedid=True)).deduplicate
    assert reason_of(structured(retryeligible="maybe")) == "invalid_retryeligible"
    assert reason_of(structured(retryeligible=0)) == "invalid_cloudevent"


def test_base64_data_is_decoded() -> None:
    encoded = base64.b64encode(b"\x00\xff").decode()
    event = decode_event(structured(data=None, data_base64=encoded, datacontenttype="image/png"))
    assert (event.data, event.content_type) == (b"\x00\xff", "image/png")


@pytest.mark.parametrize("text", ["not base64!", "YQ", "é", "YQ==\n"])
def test_what_is_not_base64_is_undecodable(text: str) -> None:
    assert reason_of(structured(data=None, data_base64=text)) == "invalid_data_base64"


def test_data_and_base64_data_exclude_each_other() -> None:
    assert reason_of(structured(data_base64="YQ==")) == "invalid_data"


def test_a_structured_event_needs_data() -> None:
    value = json.dumps(STRUCTURED).encode()
    headers = [("content-type", b"application/cloudevents+json")]
    assert reason_of(record(value, headers)) == "missing_data"


def test_null_is_data_too() -> None:
    assert decode_event(structured(data=None)).data == b"null"


def test_a_string_is_json_or_text_as_the_content_type_says() -> None:
    text = structured(data='a"b', datacontenttype="text/plain")
    assert decode_event(text).data == b'a"b'
    for kind in ("application/json", "Application/Problem+JSON; charset=utf-8"):
        assert decode_event(structured(data='a"b', datacontenttype=kind)).data == b'"a\\"b"'


def test_an_attribute_of_the_wrong_type_is_an_invalid_cloudevent() -> None:
    assert reason_of(structured(id=5)) == "invalid_cloudevent"
    headers = [("content-type", b"application/cloudevents+json")]
    assert reason_of(record(b"[]", headers)) == "invalid_cloudevent"


# -- the envelope -------------------------------------------------------------------------------


def test_the_envelope_of_publish_is_read() -> None:
    event = decode_event(
        envelope(
            id="e-1",
            topic="order.paid",
            destination_id="d-1",
            eligible_for_retry=False,
            time="2026-01-31t12:00:00z",
            metadata={"a": "1"},
            partition_key="k",
            what_is_this=1,
        )
    )
    assert event == Event(
        tenant="acme",
        id="e-1",
        source="event-router",
        topic="order.paid",
        time="2026-01-31T12:00:00Z",
        data=b"{}",
        origin=Place("events", 3, 7, MOMENT),
        metadata={"a": "1"},
        destination="d-1",
        retry=False,
        partition_key="k",
        deduplicate=True,
    )


NULLABLE = [
    "id",
    "topic",
    "destination_id",
    "eligible_for_retry",
    "time",
    "metadata",
    "partition_key",
]


@pytest.mark.parametrize("name", NULLABLE)
def test_null_in_an_envelope_is_the_same_as_absent(name: str) -> None:
    assert decode_event(envelope(**{name: None})) == decode_event(envelope())


def test_what_an_envelope_leaves_out_comes_from_the_record() -> None:
    event = decode_event(envelope())
    assert event.time == "2026-01-31T12:00:00.123Z"
    assert event.topic == "*"
    assert event.retry
    assert not event.deduplicate
    assert event.id == decode_event(envelope()).id
    assert event.id != decode_event(record(envelope().value, offset=8)).id
    assert event.id != decode_event(record(envelope().value, timestamp=MOMENT + 1)).id


def test_an_empty_topic_is_any_topic() -> None:
    assert decode_event(envelope(topic="")).topic == "*"
    assert decode_event(envelope(topic="*")).topic == "*"


def test_metadata_in_the_envelope_wins_over_that_in_headers() -> None:
    headers = [("meta_a", b"header"), ("meta_b", b"header")]
    event = decode_event(envelope(headers, metadata={"a": "envelope"}))
    assert event.metadata == {"a": "envelope", "b": "header"}


@pytest.mark.parametrize(
    "data",
    [
        b'{ "b" : 1 ,\n\t"a":2, "b":3 }',
        b"123456789012345678901234567890.10",
        b"1e400",
        b'"\\u00e9"',
        b"null",
    ],
)
def test_the_payload_keeps_its_key_order_spacing_and_big_numbers(data: bytes) -> None:
    assert decode_event(record(b'{"tenant_id":"acme","data":' + data + b" }")).data == data
    whole = b'{"specversion":"1.0","id":"a","source":"s","type":"t","tenantid":"acme","data":'
    headers = [("content-type", b"application/cloudevents+json")]
    assert decode_event(record(whole + data + b"}", headers)).data == data
    assert decode_event(binary(data)).data == data


def test_a_byte_order_mark_before_the_json_is_no_part_of_it() -> None:
    plain = envelope()
    assert plain.value is not None
    assert decode_event(record(b"\xef\xbb\xbf" + plain.value)) == decode_event(plain)
    assert decode_event(binary(b"\xef\xbb\xbf{}")).data == b"\xef\xbb\xbf{}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "invalid_json"),
        (b"\x80\x81", "invalid_json"),
        (b'{"tenant_id":"acme","data":{}', "invalid_json"),
        (b'{"tenant_id":"acme","data":' + b"[" * 200_000, "invalid_json"),
        (b'{"tenant_id":"acme","x":' + b'{"a":' * 200_000, "invalid_json"),
        (b'{"tenant_id":"acme","data":"\\ud800"}', "invalid_json"),
        (b'{"tenant_id":"a\xff","data":{}}', "invalid_utf8"),
        (b'{"tenant_id":"acme"}', "invalid_envelope"),
        (b'{"data":{}}', "invalid_envelope"),
        (b"[]", "invalid_envelope"),
        (b'{"tenant_id":5,"data":{}}', "invalid_envelope"),
        (b'{"tenant_id":"","data":{}}', "invalid_tenant"),
        (b'{"tenant_id":"acme","id":"","data":{}}', "invalid_id"),
        (b'{"tenant_id":"acme","metadata":{"a":1},"data":{}}', "invalid_envelope"),
        (b'{"tenant_id":"acme","eligible_for_retry":"false","data":{}}', "invalid_envelope"),
        (b'{"tenant_id":"acme","time":1769860800,"data":{}}', "invalid_envelope"),
        (b'{"tenant_id":"acme","topic":"a\\u0000","data":{}}', "invalid_topic"),
    ],
)
def test_what_is_no_envelope_says_why(value: bytes, reason: str) -> None:
    assert reason_of(record(value)) == reason


def test_a_record_without_a_value_is_a_tombstone() -> None:
    assert reason_of(record(None)) == "tombstone"
    assert reason_of(record(None, list(BINARY.items()))) == "tombstone"


@pytest.mark.parametrize("timestamp", [2**63 - 1, -(2**63)])
def test_a_timestamp_beyond_the_calendar_matters_only_without_a_time(timestamp: int) -> None:
    assert reason_of(record(envelope().value, timestamp=timestamp)) == "invalid_timestamp"
    timed = envelope(time="2026-01-31T12:00:00Z")
    assert decode_event(record(timed.value, timestamp=timestamp)).origin.timestamp == timestamp


# -- times --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "2026-01-31T12:00Z",
        "20260131T120000Z",
        "2026-W05-6T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T23:59:60Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00Z\n",
        "٢026-01-31T12:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "",
    ],
)
def test_what_is_not_rfc_3339_is_no_time(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"time: .* is not an RFC 3339 time"):
        checked_time("time", text)


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456789-00:00", "0001-01-01T00:00:00Z"],
)
def test_an_rfc_3339_time_stays_as_it_is(text: str) -> None:
    assert checked_time("time", text) == text


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_moment_as_text_is_exact_to_the_millisecond(milliseconds: int) -> None:
    text = rfc3339(milliseconds)
    assert checked_time("time", text) == text
    assert int(text[-4:-1]) == milliseconds % 1000


# -- laws ---------------------------------------------------------------------------------------

TEXT = st.text(max_size=20)
HEADER_NAMES = st.one_of(
    st.sampled_from(
        [
            *BINARY,
            "ce_time",
            "ce_destinationid",
            "ce_retryeligible",
            "ce_generatedid",
            "ce_partitionkey",
            "content-type",
            "meta_a",
            "meta_",
        ]
    ),
    TEXT,
)
HEADER_VALUES = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.sampled_from(
        [
            b"1.0",
            b"acme",
            b"true",
            b"2026-01-31T12:00:00Z",
            b"application/cloudevents+json",
            b"text/plain",
        ]
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        *STRUCTURED,
        *NULLABLE,
        "tenant_id",
        "data",
        "data_base64",
        "datacontenttype",
        "retryeligible",
    ]
)
LIKELY = st.sampled_from(["1.0", "acme", "2026-01-31T12:00:00Z", "YQ==", "text/plain", {"a": "b"}])
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=50),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(FIELDS, JSON | LIKELY, max_size=9).map(lambda v: json.dumps(v).encode()),
)


@given(
    value=VALUES,
    headers=st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=10),
    timestamp=st.integers(-(2**63), 2**63 - 1),
)
def test_any_record_is_an_event_or_undecodable_and_twice_the_same(
    value: bytes | None, headers: list[tuple[str, bytes | None]], timestamp: int
) -> None:
    one = record(value, headers, timestamp=timestamp)
    assert _decoded(one) == _decoded(one)


def _decoded(one: Record) -> Event | tuple[str, str]:
    try:
        return decode_event(one)
    except Undecodable as problem:
        return problem.reason, problem.detail


IDS = st.from_regex(r"[A-Za-z0-9._~:-]{1,128}", fullmatch=True)
PLAIN = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], codec="utf-8"), min_size=1, max_size=60
)


@given(
    new=st.builds(
        NewEvent,
        tenant=IDS,
        id=PLAIN,
        source=PLAIN,
        topic=PLAIN,
        time=st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
        data=st.binary(max_size=100),
        content_type=st.sampled_from(["application/json", "text/plain", "image/png"]),
        metadata=st.dictionaries(PLAIN, TEXT, max_size=4),
        destination=st.none() | IDS,
        retry=st.booleans(),
        partition_key=st.none() | PLAIN,
        generated_id=st.booleans(),
    )
)
def test_an_event_that_is_written_is_read_as_it_was(new: NewEvent) -> None:
    message = event_message(new, "events")
    assert message.key == (new.partition_key or new.id).encode()
    read = decode_event(Record("events", 0, 1, 2, message.key, message.value, message.headers))
    assert read == Event(
        tenant=new.tenant,
        id=new.id,
        source=new.source,
        topic=new.topic,
        time=new.time,
        data=new.data,
        origin=Place("events", 0, 1, 2),
        content_type=new.content_type,
        metadata=new.metadata,
        destination=new.destination,
        retry=new.retry,
        partition_key=new.partition_key,
        deduplicate=not new.generated_id,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_id", "a b"),
        ("id", "x" * 257),
        ("topic", ""),
        ("source", "a\x00"),
        ("content_type", "a\r\nb"),
        ("time", "now"),
        ("destination_id", ""),
        ("partition_key", "a\tb"),
    ],
)
def test_an_event_that_could_not_be_read_is_not_written(field: str, value: str) -> None:
    name = {"tenant_id": "tenant", "destination_id": "destination"}.get(field, field)
    good = NewEvent(
        tenant="acme", id="1", source="s", topic="t", time="2026-01-31T12:00:00Z", data=b""
    )
    event_message(good, "events")
    with pytest.raises(InvalidValue, match=f"^{field}: "):
        event_message(msgspec.structs.replace(good, **{name: value}), "events")
