"""A topic of somebody's Kafka cluster: the payload as the value, what is known of it as headers."""

import asyncio
import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, Field, field_validator

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.config import Vet
from event_router.consumers.ports import Batch, Producer, Result
from event_router.consumers.sinks.batched import Batched
from event_router.consumers.sinks.fields import Fields, Shown
from event_router.consumers.sinks.hosts import host_and_port
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.templates import PARTITION_KEY, Compiled, Template
from event_router.consumers.sinks.tls import (
    CA_CERTIFICATE,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    Certificates,
    ClientKey,
    tls_of,
)
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, TooLarge, Unavailable
from event_router.schemas.record import Message, Place

_BROKER = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"

Security = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_SECURITY: dict[tuple[bool, bool], Security] = {
    (False, False): "plaintext",
    (False, True): "ssl",
    (True, False): "sasl_plaintext",
    (True, True): "sasl_ssl",
}
_MECHANISMS: dict[str, Mechanism] = {
    "plain": "PLAIN",
    "scram-sha-256": "SCRAM-SHA-256",
    "scram-sha-512": "SCRAM-SHA-512",
}
_CODES = {
    "kafka_authentication": "authentication_failed",
    "kafka_unknown_topic": "target_not_found",
    "kafka_unauthorized": "permission_denied",
    "kafka_unreachable": "network_error",
    "kafka_timeout": "timeout",
    "kafka_error": "request_refused",
    "kafka_no_leader": "service_unavailable",
    "kafka_unknown_partition": "service_unavailable",
    "kafka_closed": "service_unavailable",
}
_AT_ONCE = frozenset({"kafka_authentication", "kafka_unauthorized", "kafka_unknown_topic"})
"""Troubles that a broker itself has told, and that only people mend: nothing is gained by waiting,
and the place of a delivery that can succeed is lost."""

_SAID = {"CERTIFICATE_VERIFY_FAILED": "tls_error", "ConnectionRefusedError": "connection_refused"}
LONGEST_KEY = 1024


class KafkaSinkConfig(Fields):
    """`brokers` is a comma-separated list of host:port. There is SASL when there is a username."""

    brokers: str = Field(title="Brokers", description="host:port, several comma-separated")
    topic: str = Field(title="Topic", pattern=_TOPIC)
    tls: bool = Field(True, title="TLS")
    ca_certificate: Certificates | None = CA_CERTIFICATE
    sasl_mechanism: Literal["plain", "scram-sha-256", "scram-sha-512"] = Field(
        "plain", title="SASL mechanism", description="Without SASL when there is no username."
    )
    partition_key_template: Template | None = PARTITION_KEY

    @field_validator("brokers")
    @classmethod
    def _hosts_and_ports(cls, brokers: str) -> str:
        listed = [broker.strip() for broker in brokers.split(",")]
        if not all(map(_BROKER.fullmatch, listed)):
            raise ValueError("a comma-separated list of host:port")
        return ",".join(listed)


class KafkaSinkCredentials(Fields):
    """Of a user of the cluster; none without SASL."""

    username: str = Field("", title="Username", repr=False)
    password: str = Field("", title="Password", repr=False)
    client_certificate: Certificates | None = CLIENT_CERTIFICATE
    client_key: ClientKey = CLIENT_KEY


class KafkaSink(Batched):
    """One destination's topic. The producer is opened by the first delivery."""

    label: ClassVar[str] = "Apache Kafka"
    description: ClassVar[str] = "Send events to a topic of Apache Kafka"
    Config: ClassVar[type[BaseModel]] = KafkaSinkConfig
    Credentials: ClassVar[type[BaseModel]] = KafkaSinkCredentials
    batch: Batch = Batch(count=500, bytes=4 << 20)

    def __init__(
        self,
        destination: Destination,
        config: KafkaSinkConfig,
        credentials: KafkaSinkCredentials,
        resources: SinkResources,
    ) -> None:
        self._cluster = _cluster(config, credentials, resources.resolver.addresses)
        self._topic = config.topic
        self._metadata = destination.delivery_metadata
        template = config.partition_key_template
        self._key = Compiled(template, LONGEST_KEY) if template else None
        self._resources = resources
        self._troubles = Troubles(credentials)
        self._producer: Producer | None = None

    @staticmethod
    def shown(config: KafkaSinkConfig) -> Shown:
        return Shown(f"{config.brokers} / {config.topic}")

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """A cluster in trouble is waited for until the deadline, unless a broker says what only
        people mend; its trouble is that of all, since nobody knows which records were written."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._resources.timeout
        async with self._troubles.attempt(self._resources.timeout):
            producer = await self._opened()
        messages = [self._message(delivery) for delivery in deliveries]
        try:
            places = await producer.send(messages, max(0.0, deadline - loop.time()))
        except Unavailable as trouble:
            raise self._troubles.unavailable(_code(trouble), trouble.detail) from trouble
        return [_result(place) for place in places]

    async def aclose(self) -> None:
        if self._producer is not None:
            await self._producer.aclose()

    async def _opened(self) -> Producer:
        if self._producer is None:
            await self._vet_brokers()
        if self._producer is None:
            self._producer = self._resources.open_producer(self._cluster)
        return self._producer

    async def _vet_brokers(self) -> None:
        """Those that we were told of."""
        for broker in self._cluster.bootstrap.split(","):
            host, _ = host_and_port(broker)
            await self._resources.resolver.addresses(host)

    def _message(self, delivery: Delivery) -> Message:
        texts = merged_metadata(self._metadata, delivery.head)
        key = self._key.text(delivery, texts) if self._key else None
        headers = [(name, value.encode()) for name, value in texts.items()]
        return Message(self._topic, (key or delivery.head.event).encode(), delivery.data, headers)


def _code(trouble: Unavailable) -> str:
    """The client tells neither a certificate that it can't verify nor a port that nobody listens
    at from a broker that is away."""
    said = (code for words, code in _SAID.items() if words in trouble.detail)
    return next(said, _CODES.get(trouble.code, trouble.code))


def _result(place: Place | TooLarge) -> Result:
    if isinstance(place, TooLarge):
        return place
    return Answer("OK", body=b"%d/%d" % (place.partition, place.offset))


def _cluster(config: KafkaSinkConfig, credentials: KafkaSinkCredentials, vet: Vet) -> KafkaConfig:
    """Without idempotence, which needs a permission: at least once is what we promise."""
    return KafkaConfig(
        bootstrap=config.brokers,
        security=_SECURITY[bool(credentials.username), config.tls],
        sasl_mechanism=_MECHANISMS[config.sasl_mechanism],
        username=credentials.username,
        password=credentials.password,
        tls=tls_of(config, credentials),
        idempotent=False,
        vet=vet,
        at_once=_AT_ONCE,
    )
