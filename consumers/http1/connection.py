"""One HTTP/1.1 connection: a request at a time, and its answer, whatever the server does."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools
import msgspec

from event_router.consumers.http1.connection_codes import broken
from event_router.consumers.http1.target import Endpoint
from event_router.schemas.attempt import BODY_KEPT
from event_router.schemas.errors import Unavailable

MAX_HEAD = 64 * 1024
"""Bytes in which an answer's head, 1xx answers before it included, must come to its end."""
MAX_READ = 256 * 1024
"""Bytes read of an answer: a longer one costs the connection, its status counts all the same."""

_CONTINUES = 200  # answers below announce another one
_SWITCHING_PROTOCOLS = 101


class HttpAnswer(msgspec.Struct, frozen=True, gc=False):
    """A final answer; of its body, the first BODY_KEPT bytes."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The first header of that name, which is given in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class DiedIdle(Unavailable):
    """A connection that had served before died before anything of the answer came: the server
    most likely closed it while it was idle, so the request may go out on another."""


class Connection(asyncio.Protocol):
    """Made by `loop.create_connection`. `on_lost` is called once it is closed, whoever closed it.

    `reusable` says, between exchanges, whether another request may be sent.
    """

    def __init__(self, endpoint: Endpoint, on_lost: Callable[["Connection"], None]) -> None:
        self.endpoint = endpoint
        self.reusable = False
        self.opened_at = asyncio.get_running_loop().time()
        self.idle_since = 0.0
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._served = 0
        self._waiter: asyncio.Future[HttpAnswer] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._read = 0
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._kept = 0
        self._keep_alive = False
        self._complete = False

    async def exchange(self, request: bytes, deadline: float) -> HttpAnswer:
        """The answer to `request`, by `deadline` (the loop's clock).

        Raises Unavailable (`timeout`, `connection_reset`, `protocol_error`, …); the connection is
        closed then, and when the caller is cancelled.
        """
        self._reset()
        self.reusable = False
        waiter: asyncio.Future[HttpAnswer] = self._loop.create_future()
        self._waiter = waiter
        self._keep_to(deadline)
        try:
            self._transport.write(request)
            return await waiter
        finally:
            self._waiter = None
            self._served += 1
            if not self.reusable:
                self._transport.abort()

    def abort(self) -> None:
        """Closes at once: what is unsent is dropped."""
        self.reusable = False
        self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.abort()  # nobody asked: what it is of can't be known
            return
        self._read += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.reusable = False
            self._fail("protocol_error", f"not an HTTP/1.1 answer: {error}")
        if self._read > MAX_HEAD:
            self._bound()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None and not self._waiter.done():
            self._lost(self._waiter, exc)
        self._on_lost(self)

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._complete:
            self.reusable = False  # an answer too many
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _CONTINUES or status == _SWITCHING_PROTOCOLS:
            self._status = status
            self._head, self._headers = self._headers, []  # trailers are no headers
            self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        if self._kept < BODY_KEPT:
            self._body.append(body[: BODY_KEPT - self._kept])
            self._kept += len(self._body[-1])

    def on_message_complete(self) -> None:
        if self._status >= _CONTINUES and not self._complete:
            self._complete = True
            # An answer that came before the whole request was sent ends the connection: a server
            # that refuses a body needn't be sent the rest of it.
            self.reusable = self._keep_alive and self._transport.get_write_buffer_size() == 0
            self._answered()

    # What became of the exchange

    def _keep_to(self, deadline: float) -> None:
        """A timer outlives its exchange and serves the next one: most never matter."""
        self._deadline = deadline
        if self._timer is None or self._timer.when() > deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() < self._deadline:
            self._keep_to(self._deadline)
        else:
            self._fail("timeout", "no answer in time")

    def _answered(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(HttpAnswer(self._status, self._head, b"".join(self._body)))

    def _fail(self, code: str, detail: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Unavailable(code, detail))

    def _bound(self) -> None:
        if self._status and self._read > MAX_READ:
            self._answered()
        elif not self._status:
            self._fail("protocol_error", f"no end of the head in {MAX_HEAD} bytes")

    def _lost(self, waiter: "asyncio.Future[HttpAnswer]", exc: Exception | None) -> None:
        if self._status and exc is None and self._ends_with_connection():
            self._answered()
        elif self._read == 0 and self._served:
            waiter.set_exception(DiedIdle("connection_reset", "closed while idle"))
        elif exc is None and self._read:
            self._fail("protocol_error", "closed in the middle of an answer")
        elif exc is None:
            self._fail("connection_reset", "closed without an answer")
        elif isinstance(exc, OSError):
            # A server may refuse a client's certificate after the handshake (TLS 1.3).
            waiter.set_exception(broken(exc, str(exc)))
        else:
            self._fail("connection_reset", str(exc))

    def _ends_with_connection(self) -> bool:
        """Neither its length nor a last chunk says where it ends (RFC 9112, 6.3)."""
        framing = {name.lower(): value for name, value in self._head}
        coding = framing.get(b"transfer-encoding", b"").rpartition(b",")[2].strip().lower()
        return b"content-length" not in framing and coding != b"chunked"
