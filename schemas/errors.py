"""The error tree, named by what the caller does next.

    EventRouterError
    ├── InvalidValue             a person's input is wrong: name field, value, what would be right
    │   └── Forbidden            the field isn't theirs to set
    ├── Undecodable              a record is not an event: it goes to `dead` with the reason
    │   └── UnknownVersion       a newer release wrote it: it waits for one
    ├── Unavailable              a dependency or a destination is in trouble: try again later
    └── Rejected                 no retry can mend it: give up, visibly
        └── TooLarge             the message is larger than the broker takes

Foreign exceptions don't leave the adapter that meets them: it raises one of these from them.
"""

from dataclasses import dataclass


class EventRouterError(Exception):
    """The root: catch this to catch everything that the router raises on purpose."""


class InvalidValue(EventRouterError):
    """A field holds a value that can't be right. `str()` names field, value and what would be."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        super().__init__(f"{field}: {_shown(value)} is not {expected}")


class Forbidden(InvalidValue):
    """A field that isn't this person's to set. The value isn't shown."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(field, "***", why)
        self.args = (f"{field} is forbidden: {why}",)


class Undecodable(EventRouterError):
    """A record that can't be read as what its topic carries.

    `reason` is a stable word for machines (`tombstone`, `invalid_json`, …), `detail` is for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class UnknownVersion(Undecodable):
    """A head of a version that this process doesn't read. A newer one wrote it, and will read it:
    until then it waits. `at` is its record's topic, partition and offset, unless it lay elsewhere.
    """

    def __init__(self, version: int, at: tuple[str, int, int] | None = None) -> None:
        self.version = version
        self.at = at
        super().__init__("unknown_version", f"v: {version} is newer than what is read here")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination said: a stable code, and as much of its body as is kept."""

    code: str
    status: int | None = None
    body: bytes = b""


class Unavailable(EventRouterError):
    """It may work later. `retry_after` is in seconds, when the other side named a time."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        retry_after: float | None = None,
        answer: Answer | None = None,
    ) -> None:
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        self.answer = answer or Answer(code)
        super().__init__(f"{code}: {detail}" if detail else code)


class Rejected(EventRouterError):
    """No retry can mend it."""

    def __init__(self, code: str, detail: str = "", *, answer: Answer | None = None) -> None:
        self.code = code
        self.detail = detail
        self.answer = answer or Answer(code)
        super().__init__(f"{code}: {detail}" if detail else code)


class TooLarge(Rejected):
    """The message is larger than the broker, or the destination, accepts."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("message_too_large", detail)


_SHOWN = 80


def without_login(text: str) -> str:
    """`text`, without the user and the password of a URL, or of `user:password@host`, in it;
    rather too much is hidden."""
    before, at, after = text.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    if slashes:
        return f"{scheme}//***@{after}"
    quote = text[:1] if text[:1] in ("'", '"') else ""
    return f"{quote}***@{after}" if at and ":" in text else text


def _shown(value: object) -> str:
    try:
        text = without_login(repr(value))
    except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits
        text = f"a {type(value).__name__} that can't be written"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
