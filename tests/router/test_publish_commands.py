"""`router publish` and `router publish-batch`, as they are called from a shell."""

import asyncio
import io
import re

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from event_router.client import Job, Refused
from event_router.router.cli import app
from event_router.router.commands import publish as command
from event_router.router.commands.publish_batch import Outcome, Wanted, publish_batch, summary
from event_router.schemas.decode import decode_event
from event_router.schemas.errors import InvalidValue
from event_router.schemas.event import Event
from event_router.schemas.topics import Topics
from tests import services
from tests.kafka_clients import read_all

RUNNER = CliRunner()


@pytest.fixture
def topics(kafka: services.Kafka, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Topics:
    """Those of a Kafka that the commands write to."""
    topics = Topics(namespace)
    asyncio.run(kafka.make_topics(dict.fromkeys(topics.all, 2)))
    monkeypatch.setenv("ROUTER_KAFKA", kafka.bootstrap)
    monkeypatch.setenv("ROUTER_NAMESPACE", namespace)
    return topics


def _events(kafka: services.Kafka, topics: Topics) -> dict[str, Event]:
    events = (decode_event(record) for record in asyncio.run(read_all(kafka, topics.events)))
    return {event.id: event for event in events}


def test_one_event_is_published(kafka: services.Kafka, topics: Topics) -> None:
    words = ["publish", "--tenant", "acme", "--topic", "order.created", "--id", "e1"]
    done = RUNNER.invoke(app, words, input='{"amount": 999}\n')
    assert done.output.startswith(f"e1 is in {topics.events}, partition ")
    (event,) = _events(kafka, topics).values()
    assert (event.tenant, event.topic, event.data) == ("acme", "order.created", b'{"amount": 999}')


def test_every_line_is_an_event_and_bad_ones_are_named(
    kafka: services.Kafka, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "LINES", 2)
    lines = ['{"id": "a"}', "", "nope", '{"id": 7, "n": 1.0}', "[1]", "{}", '{"id": "b"}']
    words = ["publish", "--tenant", "acme", "--topic", "t", "--lines", "--id-field", "id"]
    done = RUNNER.invoke(app, words, input="\n".join(lines))
    assert done.exit_code == 1
    assert done.stdout == "3 published, 3 refused\n"
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == [
        "line 3", "line 5", "line 6",
    ]  # fmt: skip
    events = _events(kafka, topics)
    assert set(events) == {"a", "7", "b"}
    assert events["7"].data == b'{"id": 7, "n": 1.0}'


@pytest.mark.parametrize(
    "words", [["--lines", "--id", "x"], ["--lines", "--data", "{}"], ["--id-field", "id"]]
)
def test_options_that_dont_go_together_are_refused(words: list[str]) -> None:
    done = RUNNER.invoke(app, ["publish", "--tenant", "acme", *words], input="{}")
    assert isinstance(done.exception, InvalidValue)


def _shown(outcome: Outcome, *, dry_run: bool = False) -> str:
    console = Console(file=io.StringIO(), width=100)
    for part in summary(outcome, dry_run=dry_run):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_summary_says_what_became_of_the_rows() -> None:
    errors = tuple(Refused(n, f"amount: '{n}' is wrong") for n in range(1, 31))
    job = Job("j1", "SUCCESS", 100.0, 1030, accepted=1000, refused=30, errors=errors)
    outcome = Outcome("j1", msgspec.structs.replace(job, dropped_fields={"x": 5}), 2.0)
    said = " ".join(_shown(outcome).split())
    assert "accepted 1,000" in said
    assert "dropped: x 5" in said
    assert "rows per second 515" in said
    assert "20 amount: '20' is wrong" in said
    assert "21 amount" not in said
    assert "10 more: GET /api/v1/jobs/j1" in said
    assert not outcome.clean


def test_a_dry_run_is_a_table() -> None:
    report = ({"type": "fatal", "field": "amount", "desc": "not castable to float", "rows": 2},)
    outcome = Outcome("j1", Job("j1", "SUCCESS", report=report), 1.0)
    said = " ".join(_shown(outcome, dry_run=True).split())
    assert "fatal amount not castable to float 2" in said
    assert not outcome.clean
    fine = Outcome("j1", Job("j1", "SUCCESS", accepted=5), 1.0)
    assert "nothing to remark" in _shown(fine, dry_run=True)
    assert fine.clean


def test_a_job_that_wasnt_waited_for_is_named() -> None:
    assert "job j1 goes on" in _shown(Outcome("j1", None, 1.0))


def test_without_a_key_the_command_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTER_API_KEY", raising=False)
    with pytest.raises(InvalidValue, match="router env"):
        publish_batch(Wanted("x.csv", "acme", "orders"))


def test_a_format_that_isnt_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_API_KEY", "key")
    with pytest.raises(InvalidValue, match="--timestamp-format: 'roman' is not one of INFER"):
        publish_batch(Wanted("x.csv", "acme", "orders", timestamp_format="roman"))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted("/no/rows.csv", "acme", "orders"), "FILE: '/no/rows.csv' is not a file that is"),
        (Wanted("x.csv", "Acme!", "orders"), "--tenant: 'Acme!' is not"),
        (Wanted("x.csv", "acme", "orders", others={"update_event": True}), "--id-field: None is"),
    ],
)
def test_a_mistake_is_told_by_the_argument_as_it_was_entered(
    monkeypatch: pytest.MonkeyPatch, wanted: Wanted, said: str
) -> None:
    monkeypatch.setenv("ROUTER_API_KEY", "key")
    with pytest.raises(InvalidValue, match=f"^{re.escape(said)}"):
        publish_batch(wanted)
