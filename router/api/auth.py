"""Who may call: whoever shows the administrator's key as a bearer token."""

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from event_router.router.api.errors import Refusal, refused

PREFIX = "/api/v1/"
OPEN = frozenset({"/api/v1/healthz"})


class Authorized:
    """Lets nobody past without the key; without a key that is set, nobody at all.

    It stands before the router and before anything reads a body.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._allows(scope):
            await self.app(scope, receive, send)
            return
        message = "the bearer key is missing or wrong" if self._key else "no API key is set"
        refusal = Refusal(401, message, headers={"www-authenticate": "Bearer"})
        await refused(refusal)(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        path: str = scope["path"]
        if not path.startswith(PREFIX) or path in OPEN:
            return True
        for name, value in scope["headers"]:
            if name == b"authorization":
                scheme, _, token = value.partition(b" ")
                known = hmac.compare_digest(token.strip(), self._key)
                return known and bool(self._key) and scheme.lower() == b"bearer"
        return False
