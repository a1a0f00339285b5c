"""What an id may look like, and ids for records that bring none."""

import re
import uuid

from event_router.schemas.errors import InvalidValue

ID_PATTERN = r"[A-Za-z0-9._~:-]{1,128}"
EVENT_ID_MAX_BYTES = 256

_ID = re.compile(ID_PATTERN)
_NAMESPACE = uuid.UUID("6f1dcb5c-5f0e-5a0b-9a50-9d1a3a1f6d0e")


def checked_id(field: str, value: str) -> str:
    """`value`, when it may be the id of a tenant or a destination; else InvalidValue."""
    if _ID.fullmatch(value) is None:
        raise InvalidValue(field, value, f"an id ({ID_PATTERN})")
    return value


def checked_event_id(value: str) -> str:
    """`value`, when it may be the id of an event; else InvalidValue."""
    if not 0 < len(value.encode()) <= EVENT_ID_MAX_BYTES:
        raise InvalidValue("id", value, f"1 to {EVENT_ID_MAX_BYTES} bytes of UTF-8")
    return value


def id_of_record(topic: str, partition: int, offset: int, timestamp: int) -> str:
    """The id of a record that brings none: the same record always gets the same id."""
    return str(uuid.uuid5(_NAMESPACE, f"{topic}/{partition}/{offset}/{timestamp}"))


def new_id() -> str:
    """An id that nothing else has."""
    return str(uuid.uuid4())
