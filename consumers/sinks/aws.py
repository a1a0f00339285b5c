"""What the sinks of Amazon Web Services share: credentials, regions and endpoints."""

from typing import Annotated, Any

from pydantic import Field

from event_router.consumers.sinks.fields import Fields, Secret

Region = Annotated[
    str,
    Field(
        title="AWS region",
        description="The region it lies in, such as eu-central-1.",
        pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]+$",
    ),
]
ENDPOINT: Any = Field(
    None, title="Endpoint", description="URL of another endpoint than that of the region."
)


class AwsCredentials(Fields):
    """Of an IAM user, or for a session."""

    key: Secret = Field(title="Access key ID", repr=False)
    secret: Secret = Field(title="Secret access key", repr=False)
    session: Secret | None = Field(
        None, title="Session token", description="With temporary credentials.", repr=False
    )
