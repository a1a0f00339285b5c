"""A topic of Amazon SNS: the payload as the message, metadata as JSON in one attribute."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.ports import Batch
from event_router.consumers.sinks.aws import ENDPOINT, NEEDS, AwsCredentials, AwsService
from event_router.consumers.sinks.aws_messages import AwsMessages
from event_router.consumers.sinks.fields import Fields, HttpUrl, Needs, Shown
from event_router.consumers.sinks.kinds import SinkResources
from event_router.schemas.destination import Destination

Arn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$")]


class AwsSnsConfig(Fields):
    """A topic."""

    topic_arn: Arn = Field(title="Topic ARN")
    endpoint: HttpUrl | None = ENDPOINT


class AwsSns(AwsMessages):
    """One destination's topic; one whose name ends with .fifo drops duplicates itself."""

    label: ClassVar[str] = "AWS SNS"
    description: ClassVar[str] = "Publish events to a topic of Amazon SNS"
    Config: ClassVar[type[BaseModel]] = AwsSnsConfig
    Credentials: ClassVar[type[BaseModel]] = AwsCredentials
    needs: ClassVar[Needs] = NEEDS

    operation: ClassVar[str] = "publish_batch"
    entries: ClassVar[str] = "PublishBatchRequestEntries"
    body: ClassVar[str] = "Message"
    longest: ClassVar[int] = 256 << 10
    batch: Batch = Batch(count=10, bytes=256 << 10, at_once=8)

    def __init__(
        self,
        destination: Destination,
        config: AwsSnsConfig,
        credentials: AwsCredentials,
        resources: SinkResources,
    ) -> None:
        region = config.topic_arn.split(":")[3]
        service = AwsService("sns", region, config.endpoint, credentials, resources)
        super().__init__(destination, service, {"TopicArn": config.topic_arn})

    @staticmethod
    def shown(config: AwsSnsConfig) -> Shown:
        return Shown(config.topic_arn)
