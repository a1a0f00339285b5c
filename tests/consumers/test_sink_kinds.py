"""How sinks are found."""

from importlib.metadata import EntryPoint

import pytest

from event_router.consumers.sinks.kinds import GROUP, SinkTypes, load_sinks
from event_router.consumers.sinks.webhook import WebhookSink
from event_router.schemas.errors import InvalidValue, Rejected
from tests.sinks import a_destination

MISSING = SinkTypes({"cloud": EntryPoint("cloud", "no_such_module:Sink", GROUP)})


def test_ours_are_found_by_entry_point() -> None:
    sinks = load_sinks()
    assert set(sinks.names) >= {"kafka", "webhook"}
    assert sinks.get("webhook") is WebhookSink
    assert all(sinks.described(name).label for name in sinks.names)


def test_a_type_nobody_installed_is_rejected() -> None:
    with pytest.raises(Rejected, match="there are: kafka, webhook") as caught:
        load_sinks().get("carrier_pigeon")
    assert caught.value.code == "sink_not_installed"


def test_a_type_whose_requirements_are_missing_is_rejected_and_says_which() -> None:
    with pytest.raises(Rejected, match="no_such_module") as caught:
        MISSING.get("cloud")
    assert caught.value.code == "sink_not_installed"


def test_a_type_that_is_known_is_described_without_its_sink() -> None:
    missing = SinkTypes({"aws_sqs": EntryPoint("aws_sqs", "no_such_module:Sink", GROUP)})
    assert not missing.is_installed("aws_sqs")
    assert missing.described("aws_sqs").label == "AWS SQS"
    assert SinkTypes({"aws_sqs": WebhookSink}).described("aws_sqs") is WebhookSink


def test_a_person_who_misspells_a_type_reads_which_there_are() -> None:
    with pytest.raises(
        InvalidValue, match=r"type: 'webhok' is not one of aws_.*, kafka, .*, webhook"
    ):
        load_sinks().check("webhok", {}, {})


def test_a_destination_that_cannot_be_opened_still_shows() -> None:
    assert MISSING.shown(a_destination("unheard-of", {}, {})) == ("", None)
    assert load_sinks().shown(a_destination("webhook", {}, {})) == ("", None)


def test_a_problem_reads_as_field_value_and_what_would_be_right() -> None:
    with pytest.raises(InvalidValue) as caught:
        load_sinks().check("webhook", {"url": 7}, {})
    assert str(caught.value) == (
        "config.url: 7 is not an http or https URL ('7': it doesn't begin with http:// or https://)"
    )
    with pytest.raises(InvalidValue) as caught:
        load_sinks().check("webhook", {"url": "http://a.b/", "urll": 1}, {})
    assert str(caught.value) == (
        "config.urll: '***' is not a known field; there are: url, custom_headers"
    )
