"""A destination: where a tenant wants events to go, and how."""

from typing import Any

import msgspec

from event_router.schemas.delivery import DestinationKey


class RetryOverride(msgspec.Struct, frozen=True):
    """A destination's own retry schedule (seconds) and limit, instead of the global ones."""

    schedule: tuple[float, ...] | None = None
    limit: int | None = None


class Destination(msgspec.Struct, frozen=True):
    """One destination as the registry holds it, credentials in the clear.

    `topics` are names or `*`; `filter` is evaluated on the event, None matches all. Times are in
    ms since the epoch. `version` changes with every write: what was built from another one is out
    of date. `unreadable` says why nothing can be delivered to it: the registry can't open its
    secrets, or its row is damaged. What couldn't be read is empty then, and matches all.
    """

    tenant: str
    id: str
    type: str
    topics: tuple[str, ...]
    config: dict[str, Any]
    credentials: dict[str, Any]
    version: str
    created_at: int
    updated_at: int
    filter: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    delivery_metadata: dict[str, str] | None = None
    disabled_at: int | None = None
    retry: RetryOverride | None = None
    rate_limit: float | None = None
    unreadable: str | None = None

    @property
    def is_paused(self) -> bool:
        """Whether what is for it waits."""
        return self.disabled_at is not None or self.unreadable is not None

    @property
    def key(self) -> DestinationKey:
        return DestinationKey(self.tenant, self.id)

    def __repr__(self) -> str:
        """For logs and traces: whose it is, and nothing that it holds."""
        return f"Destination({self.tenant}/{self.id}, {self.type}, version={self.version})"


class Tenant(msgspec.Struct, frozen=True):
    """A tenant as the registry holds it. Times are in ms since the epoch."""

    id: str
    created_at: int
    updated_at: int
    metadata: dict[str, str] | None = None
