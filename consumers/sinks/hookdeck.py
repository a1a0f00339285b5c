"""A source of Hookdeck's Event Gateway."""

from typing import ClassVar

from pydantic import BaseModel, Field

from event_router.consumers.sinks.fields import Fields, Secret, Shown


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
