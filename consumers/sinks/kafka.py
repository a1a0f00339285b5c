"""A topic of somebody's Kafka cluster: the payload as the value, what is known of it as headers."""

import asyncio
import re
from typing import ClassVar, Literal

from pydantic import BaseModel, Field, field_validator

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.ports import Producer
from event_router.consumers.sinks.fields import Fields, Shown
from event_router.consumers.sinks.kinds import SinkResources
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, TooLarge, Unavailable
from event_router.schemas.record import Message

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


class KafkaSinkConfig(Fields):
    """`brokers` is a comma-separated list of host:port."""

    brokers: str = Field(title="Brokers", description="host:port, several comma-separated")
    topic: str = Field(title="Topic", pattern=_TOPIC)
    tls: bool = Field(True, title="TLS")
    sasl_mechanism: Literal["plain", "scram-sha-256", "scram-sha-512"] | None = Field(
        None, title="SASL mechanism", description="Without SASL when there is none."
    )

    @field_validator("brokers")
    @classmethod
    def _hosts_and_ports(cls, brokers: str) -> str:
        listed = [broker.strip() for broker in brokers.split(",")]
        if not all(map(_BROKER.fullmatch, listed)):
            raise ValueError("a comma-separated list of host:port")
        return ",".join(listed)


class KafkaSinkCredentials(Fields):
    """With SASL."""

    username: str = Field("", repr=False)
    password: str = Field("", repr=False)


class KafkaSink:
    """One destination's topic. The producer is opened by the first delivery."""

    label: ClassVar[str] = "Apache Kafka"
    description: ClassVar[str] = "Send events to a topic of Apache Kafka"
    Config: ClassVar[type[BaseModel]] = KafkaSinkConfig
    Credentials: ClassVar[type[BaseModel]] = KafkaSinkCredentials

    def __init__(
        self,
        destination: Destination,
        config: KafkaSinkConfig,
        credentials: KafkaSinkCredentials,
        resources: SinkResources,
    ) -> None:
        self._cluster = _cluster(config, credentials)
        self._topic = config.topic
        self._metadata = destination.delivery_metadata or {}
        self._resources = resources
        self._producer: Producer | None = None

    @staticmethod
    def shown(config: KafkaSinkConfig) -> Shown:
        return Shown(f"{config.brokers} / {config.topic}")

    async def deliver(self, delivery: Delivery) -> Answer:
        """An attempt has one deadline; what it failed of is its code: `kafka_authentication`,
        `kafka_unknown_topic`, `kafka_unauthorized`, `kafka_unreachable`, or `timeout`."""
        head = delivery.head
        message = Message(self._topic, head.event.encode(), delivery.data, self._headers(head))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._resources.timeout
        try:
            async with asyncio.timeout_at(deadline):
                producer = await self._opened()
        except TimeoutError as error:
            raise _failed("timeout", "the brokers' names weren't resolved in time") from error
        try:
            (result,) = await producer.send([message], max(0.0, deadline - loop.time()))
        except Unavailable as trouble:
            code = "timeout" if trouble.code == "kafka_timeout" else trouble.code
            raise _failed(code, trouble.detail) from trouble
        if isinstance(result, TooLarge):
            raise result
        return Answer("OK", body=b"%d/%d" % (result.partition, result.offset))

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
        """The brokers we were told of; those that the cluster names itself aren't vetted."""
        for broker in self._cluster.bootstrap.split(","):
            host, _, _ = broker.rpartition(":")
            await self._resources.resolver.addresses(host.strip("[]"))

    def _headers(self, head: DeliveryHead) -> list[tuple[str, bytes]]:
        """Metadata, and over them what nobody may override."""
        texts = {
            **self._metadata,
            **head.metadata,
            "content-type": head.content_type,
            "event-id": head.event,
            "topic": head.topic,
            "timestamp": head.time,
        }
        return [(name, value.encode()) for name, value in texts.items()]


def _failed(code: str, detail: str) -> Unavailable:
    """People see the detail where a webhook's answer would stand."""
    return Unavailable(code, detail, answer=Answer(code, body=detail.encode()))


def _cluster(config: KafkaSinkConfig, credentials: KafkaSinkCredentials) -> KafkaConfig:
    """Without idempotence, which needs a permission: at least once is what we promise."""
    mechanism = config.sasl_mechanism
    return KafkaConfig(
        bootstrap=config.brokers,
        security=_SECURITY[mechanism is not None, config.tls],
        sasl_mechanism=_MECHANISMS[mechanism or "plain"],
        username=credentials.username,
        password=credentials.password,
        idempotent=False,
    )
