"""Types of destinations whose sink may be missing: they can be created, and their deliveries fail
with `sink_not_installed` until it is there. Their fields are those of Outpost's API."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field

from event_router.consumers.sinks.fields import DestinationType, Fields, Shown

_SERVER = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")


def _http_url(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("an http or https URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an http or https URL")
    return url


def _json_object(text: str) -> str:
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise ValueError("a JSON object, as text")
    return text


def _server(text: str) -> str:
    if _SERVER.fullmatch(text) is None:
        raise ValueError("host:port")
    return text


def _connection_string(text: str) -> str:
    if not re.search(r"(^|;)Endpoint=sb://", text):
        raise ValueError("a connection string, which has Endpoint=sb://…")
    return text


Text = Annotated[str, Field(min_length=1, max_length=2048)]
Secret = Annotated[str, Field(min_length=1, max_length=16384)]
HttpUrl = Annotated[Text, AfterValidator(_http_url)]
Region = Annotated[
    str,
    Field(
        title="AWS region",
        description="The region it lies in, such as eu-central-1.",
        pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]+$",
    ),
]
HexId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")]
_ENDPOINT = Field(
    None, title="Endpoint", description="URL of another endpoint than that of the region."
)
_PARTITION_KEY = Field(
    None,
    title="Partition key",
    description="JMESPath over metadata and data; the event's id without one.",
)


class AwsCredentials(Fields):
    """Of an IAM user, or for a session."""

    key: Secret = Field(title="Access key ID", repr=False)
    secret: Secret = Field(title="Secret access key", repr=False)
    session: Secret | None = Field(
        None, title="Session token", description="With temporary credentials.", repr=False
    )


class HookdeckConfig(Fields):
    """The token says it all."""


class HookdeckCredentials(Fields):
    """Of a source."""

    token: Secret = Field(title="Token", description="Token of a Hookdeck source.", repr=False)


class Hookdeck:
    """A source of Hookdeck's Event Gateway."""

    label: ClassVar[str] = "Hookdeck Event Gateway"
    description: ClassVar[str] = "Send events to a source of Hookdeck's Event Gateway"
    Config: ClassVar[type[BaseModel]] = HookdeckConfig
    Credentials: ClassVar[type[BaseModel]] = HookdeckCredentials

    @staticmethod
    def shown(_: HookdeckConfig) -> Shown:
        return Shown("Hookdeck", "https://dashboard.hookdeck.com")


class AwsSqsConfig(Fields):
    """A queue."""

    queue_url: HttpUrl = Field(title="Queue URL")
    endpoint: HttpUrl | None = _ENDPOINT


class AwsSqs:
    """A queue of Amazon SQS."""

    label: ClassVar[str] = "AWS SQS"
    description: ClassVar[str] = "Send events to a queue of Amazon SQS"
    Config: ClassVar[type[BaseModel]] = AwsSqsConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials

    @staticmethod
    def shown(config: AwsSqsConfig) -> Shown:
        return Shown(config.queue_url)


class AwsKinesisConfig(Fields):
    """A stream."""

    stream_name: Text = Field(title="Stream name")
    region: Region
    endpoint: HttpUrl | None = _ENDPOINT
    partition_key_template: Text | None = _PARTITION_KEY


class AwsKinesis:
    """A stream of Amazon Kinesis."""

    label: ClassVar[str] = "AWS Kinesis"
    description: ClassVar[str] = "Send events to a data stream of Amazon Kinesis"
    Config: ClassVar[type[BaseModel]] = AwsKinesisConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials

    @staticmethod
    def shown(config: AwsKinesisConfig) -> Shown:
        return Shown(f"{config.stream_name} in {config.region}")


class AwsS3Config(Fields):
    """A bucket."""

    bucket: Text = Field(title="Bucket")
    region: Region
    key_template: Text | None = Field(
        None, title="Key", description="JMESPath over time, metadata and data: the object's key."
    )
    storage_class: Text | None = Field(
        None, title="Storage class", description="STANDARD without one."
    )


class AwsS3:
    """A bucket of Amazon S3."""

    label: ClassVar[str] = "AWS S3"
    description: ClassVar[str] = "Write events as objects into a bucket of Amazon S3"
    Config: ClassVar[type[BaseModel]] = AwsS3Config
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials

    @staticmethod
    def shown(config: AwsS3Config) -> Shown:
        return Shown(f"{config.bucket} in {config.region}")


class AwsEventBridgeConfig(Fields):
    """A bus."""

    region: Region
    event_bus_name: Text | None = Field(
        None, title="Event bus", description="Name or ARN; the account's default bus without one."
    )
    endpoint: HttpUrl | None = _ENDPOINT


class AwsEventBridge:
    """A bus of Amazon EventBridge."""

    label: ClassVar[str] = "AWS EventBridge"
    description: ClassVar[str] = "Send events to a bus of Amazon EventBridge"
    Config: ClassVar[type[BaseModel]] = AwsEventBridgeConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials

    @staticmethod
    def shown(config: AwsEventBridgeConfig) -> Shown:
        return Shown(f"{config.event_bus_name or 'default'} in {config.region}")


class AzureServiceBusConfig(Fields):
    """A queue or a topic."""

    name: Text = Field(title="Queue or topic")


class AzureServiceBusCredentials(Fields):
    """Of a namespace."""

    connection_string: Annotated[Secret, AfterValidator(_connection_string)] = Field(
        title="Connection string", repr=False
    )


class AzureServiceBus:
    """A queue or topic of Azure Service Bus."""

    label: ClassVar[str] = "Azure Service Bus"
    description: ClassVar[str] = "Send events to a queue or topic of Azure Service Bus"
    Config: ClassVar[type[BaseModel]] = AzureServiceBusConfig
    Credentials: ClassVar[type[BaseModel]] = AzureServiceBusCredentials

    @staticmethod
    def shown(config: AzureServiceBusConfig) -> Shown:
        return Shown(config.name)


class GcpPubsubConfig(Fields):
    """A topic."""

    project_id: Text = Field(title="Project ID")
    topic: Text = Field(title="Topic")
    endpoint: Text | None = Field(
        None, title="Endpoint", description="Of an emulator, such as localhost:8085."
    )


class GcpPubsubCredentials(Fields):
    """Of a service account."""

    service_account_json: Annotated[Secret, AfterValidator(_json_object)] = Field(
        title="Service account key", description="The key file's JSON.", repr=False
    )


class GcpPubsub:
    """A topic of Google Cloud Pub/Sub."""

    label: ClassVar[str] = "GCP Pub/Sub"
    description: ClassVar[str] = "Send events to a topic of Google Cloud Pub/Sub"
    Config: ClassVar[type[BaseModel]] = GcpPubsubConfig
    Credentials: ClassVar[type[BaseModel]] = GcpPubsubCredentials

    @staticmethod
    def shown(config: GcpPubsubConfig) -> Shown:
        return Shown(f"{config.project_id}/{config.topic}")


class RabbitMqConfig(Fields):
    """An exchange."""

    server_url: Annotated[Text, AfterValidator(_server)] = Field(
        title="Server", description="host:port"
    )
    exchange: Text = Field(title="Exchange")
    tls: bool = Field(False, title="TLS")


class RabbitMqCredentials(Fields):
    """Of a user."""

    username: Secret = Field(title="Username", repr=False)
    password: Secret = Field(title="Password", repr=False)


class RabbitMq:
    """An exchange of RabbitMQ."""

    label: ClassVar[str] = "RabbitMQ"
    description: ClassVar[str] = "Send events to an exchange of RabbitMQ"
    Config: ClassVar[type[BaseModel]] = RabbitMqConfig
    Credentials: ClassVar[type[BaseModel]] = RabbitMqCredentials

    @staticmethod
    def shown(config: RabbitMqConfig) -> Shown:
        return Shown(f"{config.server_url} / {config.exchange}")


class CloudflareQueuesConfig(Fields):
    """A queue."""

    account_id: HexId = Field(title="Account ID")
    queue_id: HexId = Field(title="Queue ID", description="Not the queue's name.")


class CloudflareQueuesCredentials(Fields):
    """Of an account."""

    api_token: Secret = Field(
        title="API token", description="With the permission Queues Edit.", repr=False
    )


class CloudflareQueues:
    """A queue of Cloudflare."""

    label: ClassVar[str] = "Cloudflare Queues"
    description: ClassVar[str] = "Send events to a queue of Cloudflare"
    Config: ClassVar[type[BaseModel]] = CloudflareQueuesConfig
    Credentials: ClassVar[type[BaseModel]] = CloudflareQueuesCredentials

    @staticmethod
    def shown(config: CloudflareQueuesConfig) -> Shown:
        return Shown(config.queue_id)


KNOWN: Mapping[str, type[DestinationType]] = {
    "aws_eventbridge": AwsEventBridge,
    "aws_kinesis": AwsKinesis,
    "aws_s3": AwsS3,
    "aws_sqs": AwsSqs,
    "azure_servicebus": AzureServiceBus,
    "cloudflare_queues": CloudflareQueues,
    "gcp_pubsub": GcpPubsub,
    "hookdeck": Hookdeck,
    "rabbitmq": RabbitMq,
}
