"""The demo's receiver: a web server as a customer might have it."""

from collections import OrderedDict, defaultdict
from zlib import crc32

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

FLAKY = "/flaky"
FAILURES = 2
REMEMBERED = 10_000


class Receiver:
    """An ASGI app that takes everything; `/flaky` takes every third event at the third try only."""

    def __init__(self) -> None:
        self.received: defaultdict[str, int] = defaultdict(int)
        self._tries: OrderedDict[str, int] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        await self._answer(scope)(scope, receive, send)

    def _answer(self, scope: Scope) -> PlainTextResponse:
        path = scope["path"]
        event = dict(scope["headers"]).get(b"webhook-id", b"").decode()
        if path == FLAKY and crc32(event.encode()) % 3 == 0 and self._try(event) <= FAILURES:
            return PlainTextResponse("try again", 503)
        self.received[path] += 1
        return PlainTextResponse("thanks")

    def _try(self, event: str) -> int:
        tries = self._tries[event] = self._tries.pop(event, 0) + 1
        if len(self._tries) > REMEMBERED:
            self._tries.popitem(last=False)
        return tries
