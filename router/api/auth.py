"""Who may call: the administrator with the API's key, and tenants with a token, for themselves."""

import hmac

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from event_router.router.api.errors import Refusal, refusal_of, refused
from event_router.router.api.rate_limits import TenantRates
from event_router.router.api.tokens import TenantTokens
from event_router.router.store.ports import Registry
from event_router.schemas.errors import EventRouterError

PREFIX = "/api/v1/"
OPEN = frozenset({"/api/v1/healthz"})

_CALLER = "event_router.tenant"
_OF_TENANTS = frozenset({"events", "attempts", "retry", "destination-types", "topics", "metrics"})


class Callers:
    """Knows who calls by the bearer token: None is the administrator, a text is that tenant."""

    def __init__(
        self, key: str, tokens: TenantTokens, registry: Registry, rates: TenantRates
    ) -> None:
        self._key = key.encode()
        self._tokens = tokens
        self._registry = registry
        self._rates = rates

    async def caller(self, scope: Scope) -> str | None:
        """Raises Refusal: 401 for a stranger (without a key that is set, everybody is one), 429
        for a tenant that calls too often."""
        if not self._key:
            raise _unauthorized("no API key is set")
        token = _bearer(scope)
        if token is not None and hmac.compare_digest(token, self._key):
            return None
        tenant = None if token is None else await self.tenant(token.decode("latin-1"))
        if tenant is None:
            raise _unauthorized("the bearer key is missing or wrong")
        return tenant

    async def tenant(self, token: str) -> str | None:
        """Whose token it is; None when it isn't good, or the tenant is gone. Raises Refusal 429
        for one that is shown too often."""
        tenant = self._tokens.tenant_of(token)
        if tenant is None:
            return None
        self._rates.count(tenant)
        return None if await self._registry.tenant(tenant) is None else tenant


class Authorized:
    """Lets nobody past who may not call.

    It stands before the router and before anything reads a body.
    """

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self.app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_guarded(scope["path"]):
            try:
                scope[_CALLER] = await let_in(self._callers, scope)
            except EventRouterError as error:
                await refused(refusal_of(error))(scope, receive, send)
                return
        await self.app(scope, receive, send)


async def let_in(callers: Callers, scope: Scope) -> str | None:
    """Who calls, as `Callers.caller`; raises Refusal, 403 for a path that isn't that tenant's."""
    caller = await callers.caller(scope)
    if caller is not None and not is_open_to(caller, scope["path"]):
        raise forbidden()
    return caller


def is_open_to(tenant: str, path: str) -> bool:
    """Whether a tenant may call that path at all: all that isn't named here is closed to it."""
    first, *rest = path.removeprefix(PREFIX).split("/")
    if first != "tenants" or not rest:
        return first in _OF_TENANTS or first == "tenants"
    whose, *what = rest
    return whose == tenant and what[:1] in ([], ["destinations"])


def tenant_of(request: Request) -> str | None:
    """The tenant that calls; None is the administrator."""
    caller: str | None = request.scope[_CALLER]
    return caller


def own(request: Request, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Of which tenants a caller who asked for these may know; raises Refusal 403 for others."""
    caller = tenant_of(request)
    if caller is None:
        return asked
    if any(tenant != caller for tenant in asked):
        raise forbidden()
    return (caller,)


def own_one(request: Request, asked: str | None) -> str | None:
    """As `own`, of one tenant."""
    return next(iter(own(request, () if asked is None else (asked,))), None)


def forbidden() -> Refusal:
    return Refusal(403, "a tenant's token is for that tenant's own things")


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, message, headers={"www-authenticate": "Bearer"})


def _is_guarded(path: str) -> bool:
    return path.startswith(PREFIX) and path not in OPEN


def _bearer(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            stripped: bytes = token.strip()
            return stripped if scheme.lower() == b"bearer" else None
    return None
