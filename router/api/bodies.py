"""Reading what a client sends: no more than is allowed, and not for ever."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from event_router.consumers.deadlines import Deadlines
from event_router.router.api.errors import Refusal, refused

SECONDS = 30.0
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class BodyReader:
    """Reads bodies of up to `limit` bytes that are here within `seconds`."""

    def __init__(self, limit: int, seconds: float = SECONDS) -> None:
        self._limit = limit
        self._seconds = seconds
        self._deadlines = Deadlines()

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises Refusal: 413 before more than `limit` bytes are taken in, 408
        when it isn't here in time, 400 when the client went away."""
        declared = _declared_length(scope)
        if declared is not None and declared > self._limit:
            raise _too_large(self._limit)
        try:
            with self._deadlines.within(self._seconds):
                message = await receive()
                if message["type"] == "http.request" and not message.get("more_body", False):
                    return _within(message.get("body", b""), self._limit)
                return await _rest(message, receive, self._limit)
        except TimeoutError:
            late = f"the body was not here within {self._seconds:g} s"
            raise Refusal(408, late, headers={"connection": "close"}) from None


async def _rest(message: Message, receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        if message["type"] != "http.request":
            raise Refusal(400, "the client went away")
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is larger than {limit} bytes")


def _declared_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None


class BoundedBodies:
    """Bodies are read here, whole and bounded, before the framework sees the request.

    `except_path` reads its own.
    """

    def __init__(
        self, app: ASGIApp, limit: int, except_path: str, seconds: float = SECONDS
    ) -> None:
        self.app = app
        self._reader = BodyReader(limit, seconds)
        self._except = except_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] in _WITHOUT_BODY
            or scope["path"] == self._except
        ):
            await self.app(scope, receive, send)
            return
        try:
            body = await self._reader.read(scope, receive)
        except Refusal as refusal:
            await refused(refusal)(scope, receive, send)
        else:
            await self.app(_as_json(scope), _replay(body, receive), send)


def _as_json(scope: Scope) -> Scope:
    """There is nothing but JSON here, and `curl -d` says that it sends a form."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
