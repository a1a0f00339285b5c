"""How sinks are found."""

from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest
from pydantic import BaseModel

from event_router.consumers.sinks.fields import Fields, Needs, NoCredentials, Shown
from event_router.consumers.sinks.kinds import GROUP, SinkTypes, load_sinks
from event_router.consumers.sinks.webhook import WebhookSink
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Answer, InvalidValue, Rejected
from tests.sinks import a_destination

MISSING = SinkTypes({"cloud": EntryPoint("cloud", "no_such_module:Sink", GROUP)})


def test_ours_are_found_by_entry_point() -> None:
    sinks = load_sinks()
    assert set(sinks.names) >= {"kafka", "webhook"}
    assert sinks.get("webhook") is WebhookSink
    assert all(sinks.described(name).label for name in sinks.names)


def test_a_type_nobody_installed_is_rejected() -> None:
    with pytest.raises(Rejected, match=r"there are: aws_.*, kafka, .*webhook") as caught:
        load_sinks().get("carrier_pigeon")
    assert caught.value.code == "sink_not_installed"


def test_a_type_whose_requirements_are_missing_is_rejected_and_says_which() -> None:
    with pytest.raises(Rejected, match="no_such_module") as caught:
        MISSING.get("cloud")
    assert caught.value.code == "sink_not_installed"


class Fax:
    """A type whose library isn't installed."""

    label: ClassVar[str] = "Fax"
    description: ClassVar[str] = "Send events by fax"
    Config: ClassVar[type[BaseModel]] = Fields
    Credentials: ClassVar[type[BaseModel]] = NoCredentials
    needs = Needs("fax", ("no_such_module.of_ours", "asyncio"))

    @staticmethod
    def shown(_: Fields) -> Shown:
        return Shown("a machine")

    async def deliver(self, delivery: Delivery) -> Answer:
        return Answer("OK")


class Pigeon(Fax):
    needs = Needs("", ())


def test_a_type_without_its_library_is_described_and_says_how_to_install_it() -> None:
    sinks = SinkTypes({"fax": Fax, "pigeon": Pigeon})
    assert (sinks.is_installed("fax"), sinks.is_installed("pigeon")) == (False, True)
    assert sinks.described("fax").label == "Fax"
    assert sinks.check("fax", {}, {}) == ({}, {})
    destination = a_destination("fax", {}, {})
    assert sinks.shown(destination) == ("a machine", None)
    with pytest.raises(Rejected) as caught:
        sinks.get("fax")
    assert caught.value.code == "sink_not_installed"
    assert caught.value.answer.body.decode() == (
        "sink 'fax' needs no_such_module.of_ours: pip install 'event-router[fax]'"
    )


def test_a_type_without_a_sink_is_described_and_not_installed() -> None:
    sinks = SinkTypes({"idea": Idea})
    assert sinks.check("idea", {}, {}) == ({}, {})
    with pytest.raises(Rejected, match="there is no sink for 'idea' yet"):
        sinks.get("idea")


class Idea:
    """A type that nobody has written a sink for."""

    label: ClassVar[str] = "Idea"
    description: ClassVar[str] = "Think of events"
    Config: ClassVar[type[BaseModel]] = Fields
    Credentials: ClassVar[type[BaseModel]] = NoCredentials

    @staticmethod
    def shown(_: Fields) -> Shown:
        return Shown("somewhere")


def test_a_person_who_misspells_a_type_reads_which_there_are() -> None:
    with pytest.raises(
        InvalidValue, match=r"type: 'webhok' is not one of aws_.*, kafka, .*, webhook"
    ):
        load_sinks().check("webhok", {}, {})


def test_a_destination_that_cannot_be_opened_still_shows() -> None:
    assert MISSING.shown(a_destination("unheard-of", {}, {})) == ("", None)
    assert load_sinks().shown(a_destination("webhook", {}, {})) == ("", None)


@pytest.mark.parametrize(
    ("kind", "config", "shown"),
    [
        ("aws_sqs", {"queue_url": "https://u:hidden@h/1/q"}, "'https://***@h/1/q'"),
        ("nats", {"server": "nats://hidden@h:1", "subject": "s"}, "'nats://***@h:1'"),
        ("nats", {"server": "hidden@h:1", "subject": "s"}, "'***@h:1'"),
        ("redis_stream", {"server": ":hid@den@h:1", "stream": "s"}, "'***@h:1'"),
        ("rabbitmq", {"server_url": "u:hidden@h", "exchange": "e"}, "'***@h'"),
        ("kafka", {"brokers": "u:hid'den@h:1,h:2", "topic": "t"}, '"***@h:1,h:2"'),
    ],
)
def test_a_login_in_an_address_is_refused_and_not_shown(
    kind: str, config: dict[str, str], shown: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        load_sinks().check(kind, config, {})
    assert str(caught.value).partition(": ")[2].startswith(f"{shown} is not ")


def test_a_problem_reads_as_field_value_and_what_would_be_right() -> None:
    with pytest.raises(InvalidValue) as caught:
        load_sinks().check("webhook", {"url": 7}, {})
    assert str(caught.value) == (
        "config.url: 7 is not an http or https URL ('7': it doesn't begin with http:// or https://)"
    )
    with pytest.raises(InvalidValue) as caught:
        load_sinks().check("webhook", {"url": "http://a.b/", "urll": 1}, {})
    assert str(caught.value) == (
        "config.urll: '***' is not a known field; there are: url, custom_headers, ca_certificate"
    )
