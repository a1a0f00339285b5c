"""Destinations as rows: JSON as text; credentials, config and static headers sealed.

A URL may be all that it takes to write to somebody's channel, and custom headers often hold a key.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Row

from event_router.router.store.ports import DestinationFields
from event_router.router.store.secrets import Secrets
from event_router.schemas.decode import ANY_TOPIC
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination, RetryOverride
from event_router.schemas.errors import Unavailable
from event_router.schemas.ids import new_id

_IS_SEALED = "{}"
"""In the column `config`. Rows of a router that kept it there in the clear are read, too."""


class DestinationRows:
    """Writes and reads the rows of `destinations`, with the keys that it takes."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def written(self, key: DestinationKey, fields: DestinationFields, now: int) -> dict[str, Any]:
        """The columns of a write at `now`, under a new version."""
        secret = {
            "credentials": fields.credentials,
            "config": fields.config,
            "delivery_metadata": fields.delivery_metadata,
        }
        return {
            "tenant": key.tenant,
            "id": key.destination,
            "type": fields.type,
            "topics": to_json(fields.topics),
            "config": _IS_SEALED,
            "sealed": self._secrets.seal(key, secret),
            "filter": to_json(fields.filter),
            "metadata": to_json(fields.metadata),
            "retry": to_json(fields.retry),
            "rate_limit": fields.rate_limit,
            "version": new_id(),
            "updated_at": now,
            "disabled_at": fields.disabled_at,
        }

    def made_of(
        self, key: DestinationKey, fields: DestinationFields, row: dict[str, Any]
    ) -> Destination:
        return Destination(
            tenant=key.tenant,
            id=key.destination,
            version=row["version"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            **msgspec.structs.asdict(fields),
        )

    def read(self, row: Row[Any]) -> Destination:
        """With `unreadable` when the row's key isn't among ours, or the row is damaged: it is that
        destination's trouble alone."""
        columns = _Columns(row)
        topics = columns.read("topics", tuple[str, ...])
        pattern = columns.read("filter", dict[str, Any])
        metadata = columns.read("metadata", dict[str, str])
        retry = columns.read("retry", RetryOverride)
        secret, closed = self._opened(row)
        return Destination(
            tenant=row.tenant,
            id=row.id,
            type=row.type,
            topics=(ANY_TOPIC,) if topics is None else topics,
            config=secret.config,
            credentials=secret.credentials,
            version=row.version,
            created_at=row.created_at,
            updated_at=row.updated_at,
            filter=pattern,
            metadata=metadata,
            delivery_metadata=secret.delivery_metadata,
            disabled_at=row.disabled_at,
            retry=retry,
            rate_limit=row.rate_limit,
            unreadable=closed or columns.damage,
        )

    def _opened(self, row: Row[Any]) -> tuple["_Secret", str | None]:
        """What the row hides; else nothing, and why."""
        try:
            sealed = self._secrets.open(DestinationKey(row.tenant, row.id), row.sealed)
            if "config" not in sealed:
                sealed["config"] = from_json(row.config, dict[str, Any])
            return msgspec.convert(sealed, _Secret), None
        except Unavailable as error:
            return _Secret(), error.detail
        except msgspec.MsgspecError:
            return _Secret(), _damaged("sealed")


class _Secret(msgspec.Struct, frozen=True):
    config: dict[str, Any] = {}
    credentials: dict[str, Any] = {}
    delivery_metadata: dict[str, str] | None = None


@dataclass(slots=True)
class _Columns:
    """A row's columns that hold JSON, and the first `damage` that was met."""

    row: Row[Any]
    damage: str | None = None

    def read(self, name: str, kind: Any) -> Any:
        """None, also for one that can't be read."""
        try:
            return from_json(getattr(self.row, name), kind)
        except msgspec.MsgspecError:
            self.damage = self.damage or _damaged(name)
            return None


def _damaged(column: str) -> str:
    return f"the column {column!r} of its row is damaged"


def to_json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def from_json(text: str | None, kind: Any) -> Any:
    return None if text is None else msgspec.json.decode(text, type=kind)
