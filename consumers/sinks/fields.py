"""What is known of a type of destination, be its sink installed or not: what people enter."""

from typing import Any, ClassVar, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict


class Fields(BaseModel):
    """What people enter for a sink: unknown fields are refused, numbers may stand for strings.

    Of a field's own settings, `title` is its label, `description` says what it is for, `repr=False`
    makes it a secret, and `json_schema_extra=KEY_VALUE_MAP` a JSON object of strings, as text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


KEY_VALUE_MAP: dict[str, Any] = {"format": "key-value-map"}


class NoCredentials(Fields):
    """For sinks that need none."""


class Shown(NamedTuple):
    """Where a destination leads, for people."""

    target: str
    target_url: str | None = None


class DestinationType(Protocol):
    """A class that says what a type of destination is made of. Its models complete what may be
    left out, generated secrets included."""

    label: ClassVar[str]
    description: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    Credentials: ClassVar[type[BaseModel]]

    @staticmethod
    def shown(config: Any) -> Shown: ...
