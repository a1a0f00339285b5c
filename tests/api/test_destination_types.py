"""Every type of destination can be described, made, read and changed, with its sink or without."""

from typing import Any

import pytest

from event_router.consumers.sinks.kinds import load_sinks
from tests.api.world import World, destination_body

AWS = {"key": "AKIA-a-long-key", "secret": "a-long-secret"}
HEX = "0123456789abcdef0123456789abcdef"
NAME_AND_PASSWORD = {"username": "somebody-long", "password": "a-long-password"}
SERVICE_BUS = "Endpoint=sb://x.example.com/;SharedAccessKeyName=a;SharedAccessKey=b"
EXAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "webhook": ({"url": "https://example.com/"}, {}, "https://example.com/"),
    "hookdeck": ({}, {"token": "c3JjXzE6YS1zaWduaW5nLWtleQ=="}, "Hookdeck"),
    "aws_sqs": (
        {"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q"},
        AWS,
        "https://sqs.eu-west-1.amazonaws.com/1/q",
    ),
    "aws_kinesis": ({"stream_name": "s", "region": "eu-west-1"}, AWS, "s in eu-west-1"),
    "aws_s3": ({"bucket": "b", "region": "us-gov-west-1"}, AWS, "b in us-gov-west-1"),
    "aws_eventbridge": ({"region": "eu-west-1"}, AWS, "default in eu-west-1"),
    "azure_servicebus": (
        {"name": "queue"},
        {"connection_string": SERVICE_BUS},
        "queue",
    ),
    "gcp_pubsub": (
        {"project_id": "p", "topic": "t"},
        {"service_account_json": '{"type": "service_account"}'},
        "p/t",
    ),
    "rabbitmq": (
        {"server_url": "rabbit.example.com:5671", "exchange": "e", "tls": "true"},
        NAME_AND_PASSWORD,
        "rabbit.example.com:5671 / e",
    ),
    "kafka": (
        {"brokers": "k.example.com:9092", "topic": "t", "sasl_mechanism": "plain", "tls": "true"},
        NAME_AND_PASSWORD,
        "k.example.com:9092 / t",
    ),
    "cloudflare_queues": (
        {"account_id": HEX, "queue_id": HEX},
        {"api_token": "a-long-token"},
        HEX,
    ),
}


async def schemas(world: World) -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in (await world.client.get("destination-types")).json()}


async def test_all_types_are_described(world: World) -> None:
    found = await schemas(world)
    assert set(found) >= set(EXAMPLES)
    for name, one in found.items():
        assert one["label"]
        assert one["description"]
        assert (await world.client.get(f"destination-types/{name}")).json() == one
    sinks = load_sinks()
    installed = {name for name, one in found.items() if one["installed"]}
    assert installed == {name for name in sinks.names if not sinks.lack(name)}
    assert installed >= {"kafka", "webhook"}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_description_is_what_is_checked(world: World, name: str) -> None:
    """What is required is refused when it is missing, all that is named is taken, no more is."""
    config, credentials, _ = EXAMPLES[name]
    described = (await schemas(world))[name]
    await world.tenant()
    for part, given in (("config", config), ("credentials", credentials)):
        fields = {
            field["key"]: field
            for field in described["config_fields" if part == "config" else "credential_fields"]
        }
        assert given.keys() <= fields.keys()
        whole = {"type": name, "config": config, "credentials": credentials}
        changes: list[tuple[dict[str, Any], str]] = [({"unheard_of": "x"}, "unheard_of")]
        changes += [({key: None}, key) for key, field in fields.items() if field["required"]]
        for change, key in changes:
            entered = {k: v for k, v in {**given, **change}.items() if v is not None}
            body = destination_body(**{**whole, part: entered})
            answer = await world.client.post("tenants/acme/destinations", json=body)
            assert answer.status_code == 422
            assert answer.json()["data"][0].startswith(f"{part}.{key}")


@pytest.mark.parametrize("name", EXAMPLES)
async def test_each_type_is_made_shown_and_changed(world: World, name: str) -> None:
    config, credentials, target = EXAMPLES[name]
    await world.tenant()
    made = await world.destination(id="d", type=name, config=config, credentials=credentials)
    assert made["config"] == config
    assert made["target"] == target
    if name != "webhook":
        assert all(shown.endswith("********") for shown in made["credentials"].values())
        assert made["credentials"].keys() == credentials.keys()
        assert not set(made["credentials"].values()) & set(credentials.values())
    changed = await world.client.patch("tenants/acme/destinations/d", json={"metadata": {"a": "b"}})
    assert changed.json() == {**made, "metadata": {"a": "b"}}


@pytest.mark.parametrize(
    ("name", "part", "change", "expected"),
    [
        ("aws_sqs", "config", {"queue_url": "queue"}, "an http or https URL"),
        ("aws_sqs", "config", {"endpoint": "http://[::1"}, "an http or https URL"),
        ("aws_s3", "config", {"region": "Frankfurt"}, "String should match pattern"),
        ("rabbitmq", "config", {"server_url": "amqp://host"}, "host:port"),
        ("rabbitmq", "config", {"tls": "maybe"}, "a valid boolean"),
        ("gcp_pubsub", "credentials", {"service_account_json": "{"}, "a JSON object"),
        ("gcp_pubsub", "credentials", {"service_account_json": "[]"}, "a JSON object"),
        ("azure_servicebus", "credentials", {"connection_string": "x"}, "a connection string"),
        ("cloudflare_queues", "config", {"queue_id": "name"}, "String should match pattern"),
        ("hookdeck", "credentials", {"token": ""}, "String should have at least 1"),
    ],
)
async def test_what_cannot_work_is_refused(
    world: World, name: str, part: str, change: dict[str, str], expected: str
) -> None:
    config, credentials, _ = EXAMPLES[name]
    await world.tenant()
    body: dict[str, Any] = {"type": name, "config": config, "credentials": credentials}
    body[part] = {**(config if part == "config" else credentials), **change}
    answer = await world.client.post("tenants/acme/destinations", json=destination_body(**body))
    assert answer.status_code == 422
    assert expected in answer.json()["data"][0]
    if part == "credentials" and any(change.values()):
        assert f"'{next(iter(change.values()))}'" not in answer.text


async def test_fields_say_how_to_ask_for_them(world: World) -> None:
    found = await schemas(world)
    webhook = {field["key"]: field for field in found["webhook"]["config_fields"]}
    assert webhook["url"] == {
        "key": "url",
        "type": "text",
        "required": True,
        "label": "URL",
        "sensitive": False,
        "description": "Where the requests go: https://…",
    }
    assert webhook["custom_headers"]["type"] == "key_value_map"
    assert not webhook["ca_certificate"]["sensitive"]
    secrets = {field["key"]: field for field in found["webhook"]["credential_fields"]}
    assert secrets["client_certificate"]["type"] == "text"
    assert not secrets["client_certificate"]["required"]
    assert secrets["client_key"]["sensitive"]
    kafka = {field["key"]: field for field in found["kafka"]["config_fields"]}
    assert (kafka["tls"]["type"], kafka["tls"]["default"]) == ("checkbox", "true")
    assert kafka["sasl_mechanism"]["type"] == "select"
    assert {"label": "plain", "value": "plain"} in kafka["sasl_mechanism"]["options"]
    s3 = {field["key"]: field for field in found["aws_s3"]["config_fields"]}
    assert s3["region"]["pattern"] == "^[a-z]{2}(-[a-z]+)+-[0-9]+$"
    assert (s3["bucket"]["minlength"], s3["bucket"]["maxlength"]) == (1, 2048)
    assert all(field["sensitive"] for field in found["aws_s3"]["credential_fields"])


async def test_a_type_that_nobody_knows_is_404(world: World) -> None:
    answer = await world.client.get("destination-types/pigeon")
    assert (answer.status_code, answer.json()["message"]) == (404, "destination type not found")
