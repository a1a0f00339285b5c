"""Templates pick a text out of an event, whatever it holds."""

import time
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from event_router.consumers.sinks.templates import LONGEST, Compiled, Template
from tests.sinks import a_delivery


class Entered(BaseModel):
    template: Template


def text(
    template: str, data: bytes = b"{}", metadata: Mapping[str, str] = MappingProxyType({})
) -> str | None:
    checked = Entered(template=template).template
    return Compiled(checked, longest=100).text(a_delivery(data=data), metadata)


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("data.a.b", "x"),
        ("data.list[1]", "2"),
        ("data.list[-1]", "true"),
        ("data.list[?@ == `2`] | [0]", "2"),
        ('metadata."event-id"', "evt_1"),
        ("join('', [time.rfc3339_nano, '_', metadata.\"event-id\", '.json'])",
         "2026-01-01T00:00:00Z_evt_1.json"),
        ("join('/', [time.year, time.month, time.day, time.hour])", "2026/01/01/00"),
        ("join('/', [time.date, time.datetime, time.unix, time.rfc3339])",
         "2026-01-01/2026-01-01T00:00:00/1767225600/2026-01-01T00:00:00Z"),
        ("to_string(@.data.a)", '{"b":"x"}'),
        ("not_null(data.missing, data.a.b)", "x"),
    ],
)  # fmt: skip
def test_a_text_a_number_or_a_truth_value_is_found(template: str, found: str) -> None:
    data = b'{"a": {"b": "x"}, "list": [1.5, 2, true]}'
    assert text(template, data, {"event-id": "evt_1"}) == found


@pytest.mark.parametrize(
    ("template", "data"),
    [
        ("data.missing", b"{}"),
        ("data", b'{"a": 1}'),
        ("data.list", b'{"list": ["a"]}'),
        ("data.a", b'{"a": ""}'),
        ("data.a", b'{"a": null}'),
        ("data.a", b"not JSON"),
        ("data.a", b"\xff"),
        ("data.a", b"[" * 100_000),
        ("data.a", b'{"a": "line\\nbreak"}'),
        ("data.a", b'{"a": "\\u0000"}'),
        ("data.a", '{"a": "ü"}'.encode() * 2),
        ("data.a", b'{"a": "%s"}' % (b"x" * 101)),
        ("data.a", b'{"a": "%s"}' % ("ü".encode() * 51)),
        ("data.a", b'{"a": "\\ud800"}'),
        ("length(data.a)", b'{"a": 1}'),
        ("data.a < data.b", b'{"a": 1, "b": "x"}'),
    ],
)
def test_nothing_is_found_where_nothing_fits(template: str, data: bytes) -> None:
    assert text(template, data) is None


def test_the_payload_is_not_read_for_a_template_that_does_not_ask_for_it() -> None:
    assert text("metadata.a", b"not JSON", {"a": "x"}) == "x"


@pytest.mark.parametrize(
    "template",
    [
        "|".join(["[data,data]", *["[@,@]"] * 80, "to_string(@)"]),
        "|".join(["[data,data]", *["[@,@][]"] * 80, "to_string(@)"]),
        "|".join(["data.text", *["join('',[@,@])"] * 60]),
        "data.list[*].[data.list, @][] | length(@)",
        "data.list | map(&[@,@,@,@,@,@,@,@], @) | to_string(@)",
        "sort_by(data.list, &to_string(@)) | to_string(@)",
    ],
)
def test_work_is_bounded(template: str) -> None:
    data = b'{"text": "%s", "list": [%s]}' % (b"x" * 100_000, b",".join([b"1"] * 50_000))
    began = time.process_time()
    assert text(template, data) is None
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("data.", "JMESPath"),
        ("data.a b", "JMESPath"),
        ("dta.id", "there is no 'dta'"),
        ("join('', [time.year, id])", "there is no 'id'"),
        ("upper(data.a)", "there is no function upper()"),
        ("data.list[?nope(@)]", "there is no function nope()"),
        ("(" * 900, "JMESPath"),
        ("", "at least 1"),
        ("data." * LONGEST, "at most"),
    ],
)
def test_what_can_never_work_is_refused_when_it_is_entered(template: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Entered(template=template)
    assert said in caught.value.errors()[0]["msg"]


@given(st.text(max_size=60))
def test_whatever_is_entered_is_refused_or_harmless(template: str) -> None:
    try:
        found = text(template, b'{"a": [1, {"b": "c"}]}', {"a": "b"})
    except ValidationError:
        return
    assert found is None or 0 < len(found.encode()) <= 100
