"""What a type of destination says of itself: what people enter, and what it needs installed."""

import json
import re
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Fields(BaseModel):
    """What people enter for a sink: unknown fields are refused, numbers may stand for strings.

    Of a field's own settings, `title` is its label, `description` says what it is for, `repr=False`
    makes it a secret, and `json_schema_extra=KEY_VALUE_MAP` a JSON object of strings, as text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


KEY_VALUE_MAP: dict[str, Any] = {"format": "key-value-map"}


TOLD = frozenset({"username", "key"})
"""Credentials that may stand in an error, since they say who was refused, and open nothing."""


class NoCredentials(Fields):
    """For sinks that need none."""


class Shown(NamedTuple):
    """Where a destination leads, for people."""

    target: str
    target_url: str | None = None


class Needs(NamedTuple):
    """The modules that a sink imports when it is opened, and the extra that brings them."""

    extra: str
    modules: tuple[str, ...]
    distribution: str = "event-router"

    @property
    def command(self) -> str:
        """What installs them."""
        return f"pip install '{self.distribution}[{self.extra}]'"

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that aren't there; nothing is imported."""
        return tuple(module for module in self.modules if not _is_there(module))


class DestinationType(Protocol):
    """A class that says what a type of destination is made of. Its models complete what may be
    left out, generated secrets included.

    One whose library is an extra has a class variable `needs` of type Needs, and doesn't import
    the library where the class is defined: the type can be entered and shown without it.
    """

    label: ClassVar[str]
    description: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    Credentials: ClassVar[type[BaseModel]]

    @staticmethod
    def shown(config: Any) -> Shown: ...


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


_SERVER = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")


def _http_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc:
        raise ValueError("an http or https URL without a user or a password in it")
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


Text = Annotated[str, Field(min_length=1, max_length=2048)]
Secret = Annotated[str, Field(min_length=1, max_length=16384)]
HttpUrl = Annotated[Text, AfterValidator(_http_url)]
Server = Annotated[Text, AfterValidator(_server)]
"""host:port"""
JsonObject = Annotated[Secret, AfterValidator(_json_object)]
