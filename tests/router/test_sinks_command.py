"""`router sinks`."""

import json

import pytest
from typer.testing import CliRunner

from event_router.consumers.sinks.kinds import load_sinks
from event_router.router.cli import app
from event_router.router.commands.sinks import entered_schema, type_rows

SINKS = load_sinks()


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["sinks", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_type_has_a_line_that_says_whether_it_is_installed() -> None:
    head, *lines = said().splitlines()
    assert head.split()[0] == "type"
    assert [line.split()[0] for line in lines] == list(SINKS.names)
    rows = {row.type: row for row in type_rows(SINKS)}
    assert rows["webhook"][1:] == ("Webhook", "", "yes")
    assert rows["kafka"][1:] == ("Apache Kafka", "up to 500", "yes")


def test_a_schema_is_what_is_checked() -> None:
    schema = json.loads(said("--schema", "kafka"))
    assert schema == entered_schema(SINKS, "kafka")
    assert schema["properties"]["type"] == {"const": "kafka"}
    config = schema["properties"]["config"]
    assert config["required"] == ["brokers", "topic"]
    assert config["additionalProperties"] is False
    assert "password" in schema["properties"]["credentials"]["properties"]


@pytest.mark.parametrize(("type_", "needed"), [("webhook", False), ("aws_sqs", True)])
def test_credentials_are_required_where_one_of_them_is(type_: str, needed: bool) -> None:
    assert ("credentials" in entered_schema(SINKS, type_)["required"]) is needed


def test_a_schema_of_an_unknown_type_names_those_there_are() -> None:
    result = CliRunner().invoke(app, ["sinks", "--schema", "pigeon"])
    assert result.exit_code == 1
    assert "kafka" in str(result.exception)
