"""What a sink's tests say of its service."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from event_router.schemas.delivery import Delivery


class Arrived(NamedTuple):
    """What a destination got of a delivery; `metadata` under the names that they were given.
    `content_type` is None where the service has no place for one."""

    data: bytes
    event: str
    topic: str
    content_type: str | None
    metadata: Mapping[str, str]


CODES: Mapping[str, frozenset[str]] = {
    "wrong_credentials": frozenset({"authentication_failed"}),
    "missing_target": frozenset({"target_not_found"}),
    "refused_connection": frozenset({"connection_refused"}),
    "time_out": frozenset({"timeout"}),
    "throttling": frozenset({"throttled"}),
    "too_large": frozenset({"message_too_large"}),
}
"""What can go wrong with a delivery, and the codes that say so (`consumers.sinks.trouble`)."""


@dataclass(frozen=True)
class Trouble:
    """How to get a destination into trouble: another config or other credentials, a delivery that
    is refused, or `arranged`, a context in which the service itself is in trouble.

    `code` is for a service that says it otherwise than CODES, `rejected` whether no retry can mend
    it, `seconds` the time of an attempt, `retry_after` the seconds after which it is to be tried
    again, where the service names them.
    """

    config: Mapping[str, Any] | None = None
    credentials: Mapping[str, Any] | None = None
    delivery: Delivery | None = None
    arranged: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext
    code: str = ""
    rejected: bool = False
    seconds: float = 15.0
    retry_after: float | None = None


@dataclass(frozen=True)
class SinkCase:
    """A destination that works, what has arrived at it (each once, in any order), and how it gets
    into each trouble of CODES that the service can have.

    `connections` says how many the service has accepted so far, where the library's own code makes
    them (C, Rust); without it those that Python makes are counted.
    """

    config: Mapping[str, Any]
    arrived: Callable[[], Awaitable[list[Arrived]]]
    troubles: Mapping[str, Trouble]
    credentials: Mapping[str, Any] = field(default_factory=dict)
    connections: Callable[[], Awaitable[int]] | None = None
