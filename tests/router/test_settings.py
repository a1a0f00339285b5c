"""Settings come from the environment; a mistake there names the variable and what would do."""

import base64
from ipaddress import ip_network
from pathlib import Path

import pytest

from event_router.router.decisions.delays import ExponentialDelays, FixedDelays
from event_router.router.settings import Settings, SettingsError, describe_settings, read_settings

DEFAULT = Settings.model_validate({})
KEY = "k1:" + base64.b64encode(bytes(32)).decode()


def mistakes(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(environ)
    return str(caught.value)


def test_without_variables_all_is_as_by_default() -> None:
    settings = read_settings({"PATH": "/bin", "router_kafka": "not ours"})
    assert settings == DEFAULT
    assert settings.registry_url == f"sqlite:///{Path('.data').resolve()}/registry.sqlite"
    assert settings.log_url == f"sqlite:///{Path('.data').resolve()}/log.sqlite"


def test_an_empty_variable_counts_as_not_set() -> None:
    names = [variable for variable, _, _ in describe_settings()]
    assert read_settings(dict.fromkeys(names, "")) == DEFAULT
    assert read_settings(dict.fromkeys(names, "  ")) == DEFAULT


def test_names_of_headers_are_read_and_checked_together_with_the_prefix() -> None:
    names = {"ROUTER_WEBHOOK_HEADER_NAMES": "id=event-id, topic=kind"}
    assert read_settings(names).webhook_header_names == ("id=event-id", "topic=kind")
    said = mistakes(ROUTER_WEBHOOK_HEADER_NAMES="id=topic")
    assert "ROUTER_WEBHOOK_HEADER_NAMES" in said
    said = mistakes(
        ROUTER_WEBHOOK_HEADER_PREFIX="content-", ROUTER_WEBHOOK_HEADER_NAMES="id=length"
    )
    assert "content-length" in said


def test_lists_are_separated_by_commas() -> None:
    settings = read_settings(
        {
            "ROUTER_TOPICS": "order.paid, user.created,",
            "ROUTER_ALLOW_NETWORKS": "10.0.0.0/8, fd00::/8",
            "ROUTER_SECRETS_KEYS": f"{KEY},{KEY.replace('k1', 'k0')}",
            "ROUTER_RETRY_SCHEDULE": "5, 30.5,120",
            "ROUTER_KAFKA": "a:9092, [::1]:9093,c",
        }
    )
    assert settings.topics == ("order.paid", "user.created")
    assert settings.allow_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.secrets_keys == (KEY, KEY.replace("k1", "k0"))
    assert settings.retry_schedule == FixedDelays((5.0, 30.5, 120.0))


def test_a_retry_schedule_may_be_exponential() -> None:
    settings = read_settings({"ROUTER_RETRY_SCHEDULE": "exponential:5:3600"})
    assert settings.retry_schedule == ExponentialDelays(5.0, 3600.0)


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("ROUTER_KAFAK", "ROUTER_KAFKA"),
        ("ROUTER_RETRY_SHEDULE", "ROUTER_RETRY_SCHEDULE"),
        ("ROUTER_api_port", "ROUTER_API_PORT"),
    ],
)
def test_a_misspelt_variable_names_the_nearest(misspelt: str, meant: str) -> None:
    said = mistakes(**{misspelt: "hush"})
    assert said == f"{misspelt} is not a setting; did you mean {meant}?"


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("ROUTER_KAFKA", "PLAINTEXT://a:9092", "host:port"),
        ("ROUTER_KAFKA", "a:9092,,b", "host:port"),
        ("ROUTER_KAFKA", "a:9092,b:99999", "port from 1 to 65535"),
        ("ROUTER_KAFKA", "a:0", "port from 1 to 65535"),
        ("ROUTER_KAFKA_SECURITY", "tls", "'ssl'"),
        ("ROUTER_KAFKA_IDEMPOTENT", "maybe", "boolean"),
        ("ROUTER_REDIS", "http://a", "redis://, rediss:// or unix://"),
        ("ROUTER_REDIS", "redis://a:99999/0", "port from 1 to 65535"),
        ("ROUTER_REDIS", "redis://a/zero", "redis://, rediss:// or unix://"),
        ("ROUTER_DATABASE", "mysql://a/b", "postgresql"),
        ("ROUTER_DATABASE", "postgresql://a:65536/b", "port from 1 to 65535"),
        ("ROUTER_LOG_DATABASE", "postgresql+psycopg://a:db/b", "port from 1 to 65535"),
        ("ROUTER_PUBLIC_URL", "https://a:99999", "port from 1 to 65535"),
        ("ROUTER_PUBLIC_URL", "https://[::1]:0/x", "port from 1 to 65535"),
        ("ROUTER_NAMESPACE", "a b", "letters, digits, _ and -"),
        ("ROUTER_NAMESPACE", "a" * 65, "letters, digits, _ and -"),
        ("ROUTER_PARTITIONS", "0", "greater than or equal to 1"),
        ("ROUTER_API_PORT", "65536", "less than or equal to 65535"),
        ("ROUTER_API_PORT", "http", "valid integer"),
        ("ROUTER_ALLOW_NETWORKS", "10.0.0.1/8", "has host bits set"),
        ("ROUTER_ALLOW_NETWORKS", "10.0.0.0/8,x", "'x' does not appear to be"),
        ("ROUTER_RETRY_SCHEDULE", "5,x", "exponential:FIRST:LONGEST"),
        ("ROUTER_RETRY_SCHEDULE", "-1", "from 0 to 2592000"),
        ("ROUTER_RETRY_SCHEDULE", "5,nan", "from 0 to 2592000"),
        ("ROUTER_RETRY_SCHEDULE", ",", "seconds before each retry"),
        ("ROUTER_RETRY_SCHEDULE", "exponential", "exponential:FIRST:LONGEST"),
        ("ROUTER_RETRY_SCHEDULE", "exponential:5", "exponential:FIRST:LONGEST"),
        ("ROUTER_RETRY_SCHEDULE", "exponential:0:10", "exponential:FIRST:LONGEST"),
        ("ROUTER_RETRY_SCHEDULE", "exponential:10:5", "exponential:FIRST:LONGEST"),
        ("ROUTER_RETRY_SCHEDULE", "exponential:5:inf", "exponential:FIRST:LONGEST"),
        ("ROUTER_RETRY_LIMIT", "-1", "greater than or equal to 0"),
        ("ROUTER_DELIVERY_TIMEOUT", "inf", "finite"),
        ("ROUTER_DELIVERY_TIMEOUT", "0", "greater than 0"),
    ],
)
def test_a_bad_value_is_shown_with_its_variable_and_what_is_right(
    variable: str, value: str, right: str
) -> None:
    said = mistakes(**{variable: value})
    assert said.startswith(f"{variable}={value}: ")
    assert right in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("ROUTER_DATABASE", "sqlite:////var/lib/a:b/registry.sqlite"),
        ("ROUTER_DATABASE", "postgresql://me:p:/w@h:5432/x?sslmode=require"),
        ("ROUTER_DATABASE", "postgresql://me:99999@[::1]/x"),
        ("ROUTER_PUBLIC_URL", "https://[::1]/router"),
        ("ROUTER_PUBLIC_URL", "https://router.example:8443/a:b"),
        ("ROUTER_REDIS", "unix:///run/a:b/redis.sock?db=1"),
        ("ROUTER_REDIS", "rediss://me:99999@h"),
    ],
)
def test_a_colon_elsewhere_is_not_a_port(variable: str, url: str) -> None:
    settings = read_settings({variable: url})
    assert getattr(settings, variable.removeprefix("ROUTER_").lower()) == url


@pytest.mark.parametrize("value", ["-1", "1e30", "1" * 30])
def test_no_number_is_without_bounds(value: str) -> None:
    numbers = [
        f"ROUTER_{name.upper()}"
        for name, field in Settings.model_fields.items()
        if field.annotation in (int, float, int | None)
    ]
    assert {"ROUTER_API_PORT", "ROUTER_RETRY_LIMIT", "ROUTER_DRAIN_TIMEOUT"} <= set(numbers)
    said = mistakes(**dict.fromkeys(numbers, value)).splitlines()
    assert {line.partition("=")[0] for line in said} == set(numbers)
    assert all(f"={value}: Input should be " in line for line in said)


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes(ROUTER_API_PORT="x", ROUTER_PARTITIONS="x").splitlines()) == 2


@pytest.mark.parametrize("key", ["hush", "k1:hush", "k1:aHVzaA==", ":" + KEY[3:], f"{KEY},hush"])
def test_a_bad_key_is_not_shown(key: str) -> None:
    said = mistakes(ROUTER_SECRETS_KEYS=key)
    assert said.startswith("ROUTER_SECRETS_KEYS=***: should be name:base64 of 32 bytes")


def test_two_keys_of_one_name_are_refused_without_showing_them() -> None:
    said = mistakes(ROUTER_SECRETS_KEYS=f"{KEY},{KEY}")
    assert said.startswith("ROUTER_SECRETS_KEYS=***: should not give one name to two keys")
    assert KEY not in said


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("ROUTER_REDIS", "http://me:hush@redis:6379"),
        ("ROUTER_DATABASE", "mysql://me:hu@hush@db/router"),
        ("ROUTER_LOG_DATABASE", "mysql://db/router?user=me&password=hush&a=b"),
    ],
)
def test_a_password_in_a_url_is_not_shown(variable: str, url: str) -> None:
    said = mistakes(**{variable: url})
    assert "***" in said
    assert "hush" not in said


def test_no_secret_is_in_what_is_shown_of_the_settings() -> None:
    settings = read_settings(
        {
            "ROUTER_KAFKA_PASSWORD": "hush",
            "ROUTER_API_KEY": "hush",
            "ROUTER_JWT_SECRET": "hush",
            "ROUTER_SECRETS_KEYS": KEY,
            "ROUTER_REDIS": "redis://:hush@redis:6379/0",
            "ROUTER_DATABASE": "postgresql+psycopg://me:hush@db/router",
            "ROUTER_LOG_DATABASE": "postgresql://db/router?password=hush",
        }
    )
    shown = {variable: value for variable, value, _ in describe_settings(settings)}
    assert shown["ROUTER_API_KEY"] == shown["ROUTER_SECRETS_KEYS"] == "***"
    assert shown["ROUTER_REDIS"] == "redis://***@redis:6379/0"
    assert shown["ROUTER_DATABASE"] == "postgresql+psycopg://***@db/router"
    assert shown["ROUTER_LOG_DATABASE"] == "postgresql://db/router?password=***"
    for text in (repr(settings), str(settings), repr(shown)):
        assert "hush" not in text
        assert KEY not in text


def test_every_setting_is_described_and_its_default_can_be_given() -> None:
    described = describe_settings()
    assert {variable for variable, _, _ in described} == {
        f"ROUTER_{name.upper()}" for name in Settings.model_fields
    }
    assert all(description for _, _, description in described)
    assert read_settings({variable: default for variable, default, _ in described}) == DEFAULT
