"""What an id may look like, and ids for records that bring none."""

import re
import secrets
import time
import uuid

from event_router.schemas.errors import InvalidValue

ID_PATTERN = r"[A-Za-z0-9._~:-]{1,128}"
EVENT_ID_MAX_BYTES = 256
TEXT_MAX_BYTES = 1024
EXACT = 2**53 - 1
"""The furthest whole number that no other one becomes as a float."""

_ID = re.compile(ID_PATTERN)
# CloudEvents §"Type System": no control characters, no surrogates. No database takes a NUL either.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NAMESPACE = uuid.UUID("6f1dcb5c-5f0e-5a0b-9a50-9d1a3a1f6d0e")


def checked_id(field: str, value: str) -> str:
    """`value`, when it may be the id of a tenant or a destination; else InvalidValue."""
    if _ID.fullmatch(value) is None:
        raise InvalidValue(field, value, f"an id ({ID_PATTERN})")
    return value


def checked_event_id(value: str) -> str:
    """`value`, when it may be the id of an event; else InvalidValue."""
    return checked_text("id", value, EVENT_ID_MAX_BYTES)


def checked_text(field: str, value: str, max_bytes: int = TEXT_MAX_BYTES) -> str:
    """`value`, when it may be a source, a topic or the like: neither empty nor large, without
    control characters; else InvalidValue."""
    plain = value.isascii() and value.isprintable() and 0 < len(value) <= max_bytes
    if not plain and (not value or _UNPRINTABLE.search(value) or len(value.encode()) > max_bytes):
        raise InvalidValue(
            field, value, f"1 to {max_bytes} bytes of UTF-8 without control characters"
        )
    return value


def text_of_id(field: str, value: object) -> str:
    """An id out of a row as text: a text, a whole number, a UUID. A float is taken where it is a
    whole number (1.0 is 1: a column with missing values holds floats) and can be no other.

    Raises InvalidValue.
    """
    if isinstance(value, str | int | uuid.UUID) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        if abs(value) <= EXACT:
            return str(int(value))
        raise InvalidValue(field, value, f"exact, as floats beyond ±{EXACT} aren't: use integers")
    raise InvalidValue(field, value, "a text or a whole number")


def id_of_record(topic: str, partition: int, offset: int, timestamp: int) -> str:
    """The id of a record that brings none: the same record always gets the same id."""
    return str(uuid.uuid5(_NAMESPACE, f"{topic}/{partition}/{offset}/{timestamp}"))


def new_id() -> str:
    """An id that nothing else has. Later ones are greater (UUIDv7, RFC 9562), so that an index
    of them grows at its end: random ones cost the log a quarter more CPU."""
    random = secrets.randbits(74)
    value = time.time_ns() // 1_000_000 << 80 | 0x7 << 76 | (random >> 62) << 64
    digits = f"{value | 0b10 << 62 | random & (1 << 62) - 1:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
