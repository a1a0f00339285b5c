"""What a call asks of the outside, without doing it.

A call is a generator: it yields a Request, a Pause or some Work, is sent what came of it, and
returns the call's result. So what is said to the router, and what its answers mean, is written
once; a transport that blocks and one that doesn't (`transports`) carry it out.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from event_router.client.errors import APIError, class_for

T = TypeVar("T")

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request. It is sent an Answer, whatever the status; NoAnswer is thrown in without one.

    `path` is percent-encoded and begins with a slash; `seconds` bounds every wait for the network.
    """

    method: str
    path: str
    body: bytes = b""
    params: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    seconds: float = SECONDS


@dataclass(frozen=True, slots=True)
class Answer:
    """What the router answered; the names of headers are in small letters."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pause:
    """So many seconds of nothing."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Something that takes its time, without the network or with one of its own: reading a file,
    encoding rows. It is sent what `do` returned."""

    do: Callable[[], Any]


Effect = Request | Pause | Work
Call = Generator[Effect, Any, T]
"""A call of the client, which ends with a T."""


class _Said(msgspec.Struct):
    message: str = ""
    data: Any = None
    errors: "list[_Said]" = []
    error: "_Said | None" = None


_said = msgspec.json.Decoder(_Said)


def error_of(answer: Answer) -> APIError:
    """The answer as an error, in the words that the router gave it, if it gave any."""
    try:
        said = _said.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        said = _Said(answer.body[:200].decode(errors="replace"))
    said = said.error or said
    message = said.message or "no reason was given"
    data = said.data if said.data is not None else _others(said)
    return class_for(answer.status)(answer.status, message, data, answer.headers, answer.body)


def _others(said: _Said) -> list[str] | None:
    """What Fiddler's list of errors says beyond the message."""
    found = [one.message for one in said.errors if one.message and one.message != said.message]
    return found or None
