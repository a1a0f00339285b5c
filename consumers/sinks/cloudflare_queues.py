"""A queue of Cloudflare."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.sinks.fields import Fields, Secret, Shown

HexId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")]


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
