"""Credentials as they are shown: enough to recognise one, too little to use it. Pure."""

from datetime import datetime

from event_router.schemas.destination import Destination

_LONG = 10
_SHOWN = 4
_STARS = "*" * 8
_SIGN = frozenset({"secret", "previous_secret", "previous_secret_invalid_at"})


def shown_credentials(destination: Destination, now: int) -> dict[str, str]:
    """A webhook's signing secrets stand in the clear: whoever receives it has to check signatures.
    Of a rotated one only while it counts (`now` in ms)."""
    given = {
        name: str(value) for name, value in destination.credentials.items() if value is not None
    }
    clear: frozenset[str] = frozenset()
    if destination.type == "webhook":
        clear = _SIGN
        given = given if _rotating(given, now) else _without_previous(given)
    return {name: value if name in clear else obfuscated(value) for name, value in given.items()}


def obfuscated(secret: str) -> str:
    """Four characters of a long one and stars, which don't tell its length."""
    return secret[:_SHOWN] + _STARS if len(secret) >= _LONG else _STARS


def _rotating(credentials: dict[str, str], now: int) -> bool:
    until = credentials.get("previous_secret_invalid_at")
    return until is not None and datetime.fromisoformat(until).timestamp() * 1000 > now


def _without_previous(credentials: dict[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in credentials.items() if not name.startswith("previous_secret")
    }
