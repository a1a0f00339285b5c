"""Everything that can be set, read from the environment (`ROUTER_*`) once, at start.

A variable that is empty counts as not set.
"""

import base64
import difflib
import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from event_router.consumers.http1.target import target_of
from event_router.consumers.sinks.webhook_style import WebhookStyle, read_names
from event_router.router.decisions.alerts import ALERTS, ALL, TOPICS
from event_router.router.decisions.delays import Delays, FixedDelays, read_delays
from event_router.router.redis_address import read_redis_url
from event_router.schemas.errors import EventRouterError, InvalidValue, Rejected

PREFIX = "ROUTER_"
SECRET = "***"  # noqa: S105  what is shown instead of one

_SECRETS = {"kafka_password", "api_key", "jwt_secret", "secrets_keys", "operator_events_secret"}
_YEARS = 10 * 365 * 86_400  # in seconds: what is meant to last for good
_PORT = "a port from 1 to 65535"
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s,:/\[\]]+)(:([0-9]{1,5}))?")
_PORT_OF = re.compile(r"[^/?#]*:([^/?#:\]]*)(?:[/?#]|$)")
_DATABASE = r"^((sqlite|postgresql)(\+[a-z]+)?://.+)?$"
_PASSWORD = re.compile(r"(?<=//).*(?=@)|^[^/]*(?=@)|(?<=password=)[^&]*")


class SettingsError(EventRouterError):
    """The environment can't be what was meant: each line names a variable and what would do."""


class Settings(BaseModel):
    """All settings, with their defaults. Each is `ROUTER_` and the name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # Kafka
    kafka: str = Field("127.0.0.1:9092", description="bootstrap servers, comma-separated")
    kafka_security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="how the brokers are spoken to"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="with sasl_plaintext and sasl_ssl"
    )
    kafka_username: str = Field("", description="with SASL")
    kafka_password: SecretStr = Field(SecretStr(""), description="with SASL")
    kafka_ca_file: Path | None = Field(None, description="CA certificates (PEM) for TLS")
    kafka_cert_file: Path | None = Field(None, description="client certificate (PEM) for TLS")
    kafka_key_file: Path | None = Field(None, description="client key (PEM) for TLS")
    kafka_idempotent: bool = Field(True, description="idempotent producer; off for tansu")
    kafka_fetch_wait_ms: int = Field(500, ge=1, le=20_000, description="long poll; 20 for tansu")
    kafka_session_timeout: float = Field(
        10.0, ge=1, le=1800, description="seconds until a member is gone"
    )

    # Redis and SQL
    redis: str = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        pattern=r"^(rediss?|unix)://.",
        description="redis://, rediss:// or unix:// URL",
    )
    redis_max_bytes: int = Field(
        1 << 30, ge=1 << 20, le=1 << 50, description="bound of the schedule, in bytes of bodies"
    )
    database: str = Field(
        "",
        repr=False,
        pattern=_DATABASE,
        description="SQLAlchemy URL of the registry; empty = SQLite in ROUTER_DATA_DIR",
    )
    log_database: str = Field(
        "",
        repr=False,
        pattern=_DATABASE,
        description="SQLAlchemy URL of the log; empty = SQLite in ROUTER_DATA_DIR",
    )

    # Names and topics
    namespace: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_-]{0,64}$",
        description="prefixes topics, groups and Redis keys; letters, digits, _ and -",
    )
    partitions: int = Field(16, ge=1, le=64, description="of the topics that `router init` makes")

    # The API, and the roles' health
    api_host: str = Field("127.0.0.1", description="where the API listens")
    api_port: int = Field(3333, ge=0, le=65535, description="where the API listens; 0 = any")
    api_key: SecretStr = Field(SecretStr(""), description="bearer key of the API's administrator")
    api_rate_limit: float = Field(
        0,
        ge=0,
        le=1_000_000,
        description="requests per second of each tenant, counted by each API process; 0 = any",
    )
    jwt_secret: SecretStr = Field(SecretStr(""), description="signs tenants' tokens")
    public_url: str = Field(
        "",
        pattern=r"^(https?://[^/?#\s]+(/[^?#\s]*)?)?$",
        description="where people reach the API, for links; empty = as each request says",
    )
    health_host: str = Field("127.0.0.1", description="where /livez, /readyz, /metrics listen")
    health_port: int = Field(0, ge=0, le=65535, description="of the roles but api; 0 = any")

    # What tenants may do
    topics: tuple[str, ...] = Field((), description="event topics, comma-separated; empty = any")
    topics_allow_wildcards: bool = Field(
        False, description="destinations may subscribe to topics such as user.*"
    )
    max_destinations_per_tenant: int = Field(20, ge=1, le=1_000_000, description="more are refused")
    allow_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="private networks (CIDR) that sinks may reach, comma-separated"
    )
    files_dir: Path | None = Field(
        None, description="directory for destinations of type file; without it they fail"
    )

    # Retries
    retry_schedule: Delays = Field(
        FixedDelays((5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 43200.0)),
        description="seconds before each retry, comma-separated, or exponential:FIRST:LONGEST "
        "(full jitter, doubling)",
    )
    retry_limit: int | None = Field(
        None,
        ge=0,
        le=100_000,
        description="most retries; empty = as many as the list is long, 10 when exponential",
    )
    retry_max_age: float = Field(
        7 * 86400.0, gt=0, le=_YEARS, description="seconds after which a delivery isn't retried"
    )

    # Deliveries
    delivery_timeout: float = Field(30.0, gt=0, le=3600, description="seconds for one attempt")
    webhook_mode: Literal["standard", "outpost"] = Field(
        "standard", description="headers and signatures: Standard Webhooks, or Outpost's own"
    )
    webhook_header_prefix: str = Field(
        "",
        pattern=r"^([A-Za-z][A-Za-z0-9_-]{0,63})?$",
        description="of webhooks' headers; empty = webhook-, or x-outpost- in the mode outpost",
    )
    webhook_header_names: tuple[str, ...] = Field(
        (),
        description="after the prefix: id=…, timestamp=…, signature=…, topic=…, comma-separated",
    )
    delivery_slots: int = Field(
        500, ge=1, le=100_000, description="concurrent attempts of one worker"
    )

    # Publishing
    duplicate_window: int = Field(
        3600,
        ge=1,
        le=_YEARS,
        description="seconds in which a publish with a known id is a duplicate",
    )
    max_event_bytes: int = Field(512 * 1024, ge=1024, le=100 << 20, description="largest payload")

    # Sealed credentials
    secrets_keys: tuple[str, ...] = Field(
        (),
        repr=False,
        description="name:base64 of 32 bytes, comma-separated; the first one encrypts",
    )

    # Operator events and alerts
    operator_events_secret: SecretStr = Field(
        SecretStr(""), description="signs operator events; any text"
    )
    operator_events_topics: tuple[str, ...] = Field(
        ALERTS, description=f"operator events, comma-separated; {ALL} = all"
    )
    operator_events_url: str = Field(
        "", description="where operator events are sent; needs ROUTER_OPERATOR_EVENTS_SECRET"
    )
    alert_after: int = Field(
        100,
        ge=0,
        le=1_000_000_000,
        description="failures in a row that are 100 % of what alerts speak of, unless "
        "ROUTER_AUTO_DISABLE_AFTER says; 0 = none",
    )
    alert_exhausted_window: float = Field(
        3600.0,
        ge=0,
        le=_YEARS,
        description="seconds between alerts of one destination's exhausted retries",
    )
    auto_disable_after: int = Field(
        0,
        ge=0,
        le=1_000_000_000,
        description="failures in a row that disable a destination; 0 = never",
    )

    # The log
    log_retention_days: float = Field(
        30, gt=0, le=36_500, description="settled events, and ended batch jobs, are kept this long"
    )

    # Stopping and stalling
    drain_timeout: float = Field(
        5.0, gt=0, le=3600, description="seconds for what runs when stopping"
    )
    stall_timeout: float = Field(
        120.0, gt=0, le=86_400, description="seconds of lag without progress before a role exits"
    )

    # Files and batches
    data_dir: Path = Field(Path(".data"), description="files of the embedded default")
    uploads_dir: Path | None = Field(
        None,
        description="files of batches, the same for api and jobs; empty = in ROUTER_DATA_DIR",
    )
    uploads_max_bytes: int = Field(
        20 << 30,
        ge=1 << 20,
        le=1 << 50,
        description="bound of the batches that wait, in bytes of files",
    )
    job_lease: float = Field(
        15.0, ge=1, le=3600, description="seconds until another process takes over a batch job"
    )

    @field_validator(
        "topics", "secrets_keys", "operator_events_topics", "webhook_header_names", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return _parts(value) if isinstance(value, str) else value

    @field_validator("webhook_header_names")
    @classmethod
    def _header_names(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        mode, prefix = info.data.get("webhook_mode"), info.data.get("webhook_header_prefix")
        try:
            if mode is not None and prefix is not None:
                WebhookStyle.of(mode, prefix, read_names(value))
        except InvalidValue as error:
            raise ValueError(f"{error.value} should be {error.expected}") from error
        return value

    @field_validator("operator_events_topics")
    @classmethod
    def _operator_events(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(value) - {*TOPICS, ALL}:
            raise ValueError(f"{min(unknown)} is none of {', '.join(TOPICS)}, {ALL}")
        return value

    @field_validator("operator_events_url")
    @classmethod
    def _signed(cls, value: str, info: ValidationInfo) -> str:
        secret = info.data.get("operator_events_secret")
        if value and not (secret and secret.get_secret_value()):
            raise ValueError("should come with ROUTER_OPERATOR_EVENTS_SECRET")
        try:
            target_of(value or "http://localhost/")
        except Rejected as error:
            raise ValueError(f"should be an http or https URL ({error.detail})") from error
        return value

    @field_validator("allow_networks", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        return tuple(map(ip_network, _parts(value))) if isinstance(value, str) else value

    @field_validator("retry_schedule", mode="before")
    @classmethod
    def _delays(cls, value: Any) -> Any:
        try:
            return read_delays(value) if isinstance(value, str) else value
        except InvalidValue as error:
            raise ValueError(f"should be {error.expected}") from error

    @field_validator("kafka")
    @classmethod
    def _brokers(cls, value: str) -> str:
        brokers = [_BROKER.fullmatch(broker.strip()) for broker in value.split(",")]
        if not all(broker and _is_port(broker[3]) for broker in brokers):
            raise ValueError(f"should be host:port, comma-separated, with {_PORT}")
        return value

    @field_validator("redis")
    @classmethod
    def _redis(cls, value: str) -> str:
        try:
            read_redis_url(value)
        except InvalidValue as error:
            raise ValueError(f"should be {error.expected}, with {_PORT}") from None
        return value

    @field_validator("database", "log_database", "public_url")
    @classmethod
    def _port(cls, value: str) -> str:
        behind = value.partition("://")[2].rpartition("@")[2]
        found = _PORT_OF.match(behind)
        if found and not _is_port(found[1]):
            raise ValueError(f"should have {_PORT}")
        return value

    @field_validator("secrets_keys")
    @classmethod
    def _keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_is_key(key) for key in value):
            raise ValueError("should be name:base64 of 32 bytes, comma-separated")
        if len({key.partition(":")[0] for key in value}) < len(value):
            raise ValueError("should not give one name to two keys")
        return value

    @property
    def registry_url(self) -> str:
        return self.database or f"sqlite:///{self.data_dir.resolve()}/registry.sqlite"

    @property
    def uploads_folder(self) -> Path:
        return (self.uploads_dir or self.data_dir / "uploads").resolve()

    @property
    def log_url(self) -> str:
        return self.log_database or f"sqlite:///{self.data_dir.resolve()}/log.sqlite"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in `environ` (the process's own by default).

    Raises SettingsError for a variable that is not known, naming the nearest one, and for a value
    that can't be right.
    """
    environ = os.environ if environ is None else environ
    unknown = _unknown(environ)
    if unknown:
        raise SettingsError("\n".join(unknown))
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and value.strip()
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        lines = (_line(problem, given) for problem in error.errors())
        raise SettingsError("\n".join(dict.fromkeys(lines))) from None


def describe_settings(settings: Settings | None = None) -> list[tuple[str, str, str]]:
    """(variable, default, description) of each setting; of `settings`, what holds instead of the
    default. Secrets are masked."""
    return [
        (_variable(name), _shown(name, _value(settings, name)), field.description or "")
        for name, field in Settings.model_fields.items()
    ]


def _value(settings: Settings | None, name: str) -> object:
    return getattr(settings, name) if settings else Settings.model_fields[name].default


def _shown(name: str, value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "" or value == ():
        return ""
    if name in _SECRETS:
        return SECRET
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    return _PASSWORD.sub(SECRET, str(value))


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_port(text: str | None) -> bool:
    return not text or (text.isascii() and text.isdigit() and 1 <= int(text) <= 65_535)


def _is_key(key: str) -> bool:
    name, _, encoded = key.partition(":")
    try:
        return bool(name) and len(base64.b64decode(encoded, validate=True)) == 32
    except ValueError:
        return False


def _unknown(environ: Mapping[str, str]) -> list[str]:
    known = [_variable(name) for name in Settings.model_fields]
    lines = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0]
            lines.append(f"{name} is not a setting; did you mean {nearest}?")
    return lines


def _line(problem: Any, given: Mapping[str, str]) -> str:
    """Variable, value, what is wrong with it, and what it is for."""
    name = str(problem["loc"][0])
    wrong = problem["msg"].removeprefix("Value error, ")
    about = Settings.model_fields[name].description
    return f"{_variable(name)}={_shown(name, given[name])}: {wrong} ({about})"
