"""What travels between the client and the router, as values."""

from enum import IntEnum
from typing import Any, Literal

import msgspec

from event_router.schemas.columns import Column


class BatchPublishType(IntEnum):
    """Where a batch comes from. Without one it is told by what was given."""

    DATAFRAME = 0
    LOCAL_DISK = 1
    AWS_S3 = 2
    GCP_STORAGE = 3


class Published(msgspec.Struct, frozen=True):
    """What became of a publish: the event's id, and where it goes as of now. `duplicate` when an
    equal event with that id was published before."""

    id: str
    duplicate: bool = False
    destination_ids: tuple[str, ...] = ()


class Refused(msgspec.Struct, frozen=True):
    """A row that wasn't published, counted from 1, and why."""

    row: int
    reason: str


class Job(msgspec.Struct, frozen=True):
    """A batch under way. `progress` is in percent, `rows` their number once it is known; `errors`
    are the first refused rows of all `refused`. `report` is that of a dry run."""

    uuid: str
    status: str
    progress: float = 0.0
    rows: int | None = None
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    violations: int = 0
    dropped_fields: dict[str, int] = {}
    errors: tuple[Refused, ...] = ()
    error: str | None = None
    report: tuple[dict[str, Any], ...] = ()

    @property
    def finished(self) -> bool:
        return self.status in ("SUCCESS", "FAILURE", "REVOKED")


class KeptSchema(msgspec.Struct):
    """A schema as it is answered, which is more than it was sent."""

    columns: tuple[Column, ...]
    on_violation: Literal["record", "reject"] = "record"


class Enveloped(msgspec.Struct):
    """The answers under /v2."""

    data: dict[str, Any]
