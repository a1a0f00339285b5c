"""A webhook's secrets, and the certificate that it shows to its receiver: what they may be, how
they are changed, and which secrets sign at a time."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from pydantic import (
    AwareDatetime,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from event_router.consumers.signing import new_secret
from event_router.consumers.sinks.fields import Fields
from event_router.consumers.sinks.kinds import merged_fields
from event_router.consumers.sinks.tls import (
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    Certificates,
    ClientKey,
)
from event_router.consumers.sinks.webhook_style import WebhookStyle
from event_router.schemas.errors import Forbidden, InvalidValue

OVERLAP = timedelta(hours=24)
"""So long the previous secret signs too, unless another end is given."""

_SECRETS = ("secret", "previous_secret", "previous_secret_invalid_at")
_YES = {"true", "1"}
_NO = {"false", "0", "", "none"}


class WebhookCredentials(Fields):
    """The secret that signs, made up when none is given; the previous one signs too until then.
    The client's certificate, if any, with those that lead to its authority, and its key.
    """

    # The validation's context is the WebhookStyle that the secrets must be good for.

    secret: str = Field(default_factory=new_secret, repr=False)
    previous_secret: str | None = Field(None, repr=False)
    previous_secret_invalid_at: AwareDatetime | None = None
    client_certificate: Certificates | None = CLIENT_CERTIFICATE
    client_key: ClientKey = CLIENT_KEY

    @field_validator("secret", "previous_secret")
    @classmethod
    def _is_a_key(cls, secret: str | None, info: ValidationInfo) -> str | None:
        style = info.context
        if secret is not None and isinstance(style, WebhookStyle):
            try:
                style.key_of(secret)
            except InvalidValue as error:
                raise ValueError(error.expected) from None
        return secret

    @model_validator(mode="after")
    def _previous_ends(self) -> "WebhookCredentials":
        if self.previous_secret is not None and self.previous_secret_invalid_at is None:
            raise ValueError("with previous_secret_invalid_at, which previous_secret needs")
        return self


def merge_credentials(
    old: Mapping[str, Any], patch: Mapping[str, Any], now: int, *, admin: bool
) -> dict[str, Any]:
    """As `SinkTypes.merge_credentials`. With `rotate_secret` there is a new secret, and the one
    before signs too for OVERLAP, or until `previous_secret_invalid_at` of the patch.

    Tenants may rotate their secret; setting one is for administrators: Forbidden otherwise. A
    client certificate is anybody's to set, unless it has expired.
    """
    if patch.get("client_certificate") not in (None, old.get("client_certificate")):
        _still_valid(str(patch["client_certificate"]), now)
    if not admin:
        _only_rotates(old, patch)
    merged = merged_fields(old, patch)
    rotates = _asked(merged.pop("rotate_secret", False))
    if rotates and patch.get("secret") not in (None, old.get("secret")):
        raise InvalidValue("credentials.rotate_secret", "***", "to go with a secret of your own")
    if rotates and old.get("secret"):
        merged |= {"secret": new_secret(), "previous_secret": old["secret"]}
    if rotates and not patch.get("previous_secret_invalid_at"):
        merged.pop("previous_secret_invalid_at", None)
    if "previous_secret" in merged:
        merged.setdefault("previous_secret_invalid_at", _end_of_overlap(now))
    return merged


def _only_rotates(old: Mapping[str, Any], patch: Mapping[str, Any]) -> None:
    """What is sent back as it was read is no change."""
    for name in _SECRETS:
        if name in patch and patch[name] != old.get(name):
            raise Forbidden(f"credentials.{name}", "only the administrator sets it")


class _Shown(Fields):
    certificate: Certificates


def _still_valid(certificate: str, now: int) -> None:
    """Whether it can be read at all is checked later."""
    try:
        pem = _Shown(certificate=certificate).certificate
        read = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return
    end = read.not_valid_after_utc
    if end.timestamp() * 1000 < now:
        expected = f"one that is still valid: it ended at {end.isoformat()}"
        raise InvalidValue("credentials.client_certificate", "***", expected)


def _asked(value: object) -> bool:
    text = str(value).lower()
    if text not in _YES | _NO:
        raise InvalidValue("credentials.rotate_secret", "***", "true or false")
    return text in _YES


def _end_of_overlap(now: int) -> str:
    return (datetime.fromtimestamp(now / 1000, UTC) + OVERLAP).isoformat(timespec="seconds")


class Keys:
    """The keys that sign at a time: the current one first."""

    def __init__(self, credentials: WebhookCredentials, style: WebhookStyle) -> None:
        self._current = [style.key_of(credentials.secret)]
        self._both = self._current
        self._both_until = 0.0
        until = credentials.previous_secret_invalid_at
        if credentials.previous_secret is not None and until is not None:
            self._both = [*self._current, style.key_of(credentials.previous_secret)]
            self._both_until = until.timestamp()

    def at(self, now: float) -> list[bytes]:
        """`now` in seconds since the epoch."""
        return self._both if now < self._both_until else self._current
