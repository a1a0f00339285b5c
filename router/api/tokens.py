"""Tenants' tokens: JWTs (HS256) that say whose they are, for a day."""

import warnings
from collections.abc import Callable
from typing import Any

import jwt

ISSUER = "outpost"  # as in Outpost: what its users issue themselves goes on working
SECONDS = 24 * 3600
_ALGORITHM = "HS256"


class TenantTokens:
    """Issues and reads tokens. Without a secret there are none. `clock` gives ms."""

    def __init__(self, secret: str, clock: Callable[[], int]) -> None:
        self._secret = secret
        self._clock = clock

    @property
    def exist(self) -> bool:
        return bool(self._secret)

    def issue(self, tenant: str) -> str:
        now = self._clock() // 1000
        claims = {"iss": ISSUER, "sub": tenant, "iat": now, "exp": now + SECONDS}
        with _any_length_of_secret():
            return jwt.encode(claims, self._secret, _ALGORITHM)

    def tenant_of(self, token: str) -> str | None:
        """Whose token it is; None when it isn't one of ours, or has expired."""
        if not self._secret:
            return None
        try:
            claims = self._verified(token)
        except jwt.InvalidTokenError:
            return None
        expires = claims["exp"]
        alive = isinstance(expires, int | float) and expires * 1000 > self._clock()
        return claims["sub"] if alive else None

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims. Their times are read by our clock, not by the library's."""
        with _any_length_of_secret():
            return jwt.decode(
                token,
                self._secret,
                [_ALGORITHM],
                issuer=ISSUER,
                options={
                    "require": ["exp", "iss", "sub"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )


def _any_length_of_secret() -> "warnings.catch_warnings[None]":
    """A short secret is for `router doctor` to speak of, not for every request."""
    return warnings.catch_warnings(
        action="ignore", category=jwt.InsecureKeyLengthWarning, record=False
    )
