"""Destinations as rows: JSON as text; credentials, config and static headers sealed.

A URL may be all that it takes to write to somebody's channel, and custom headers often hold a key.
"""

from typing import Any

import msgspec
from sqlalchemy import Row

from event_router.router.store.ports import DestinationFields
from event_router.router.store.secrets import Secrets
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination, RetryOverride
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
        """Raises Unavailable when the row's key isn't among ours."""
        secret = self._secrets.open(DestinationKey(row.tenant, row.id), row.sealed)
        return Destination(
            tenant=row.tenant,
            id=row.id,
            type=row.type,
            topics=msgspec.json.decode(row.topics, type=tuple[str, ...]),
            config=secret["config"] if "config" in secret else msgspec.json.decode(row.config),
            credentials=secret["credentials"],
            version=row.version,
            created_at=row.created_at,
            updated_at=row.updated_at,
            filter=from_json(row.filter, dict[str, Any]),
            metadata=from_json(row.metadata, dict[str, str]),
            delivery_metadata=secret["delivery_metadata"],
            disabled_at=row.disabled_at,
            retry=from_json(row.retry, RetryOverride),
            rate_limit=row.rate_limit,
        )


def to_json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def from_json(text: str | None, kind: Any) -> Any:
    return None if text is None else msgspec.json.decode(text, type=kind)
