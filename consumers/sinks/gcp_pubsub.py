"""A topic of Google Cloud Pub/Sub."""

from typing import ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.sinks.fields import Fields, JsonObject, Shown, Text


class GcpPubsubConfig(Fields):
    """A topic."""

    project_id: Text = Field(title="Project ID")
    topic: Text = Field(title="Topic")
    endpoint: Text | None = Field(
        None, title="Endpoint", description="Of an emulator, such as localhost:8085."
    )


class GcpPubsubCredentials(Fields):
    """Of a service account."""

    service_account_json: JsonObject = Field(
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
