"""A request's line and headers are bounded, in size and time, and what can't be read is refused in
JSON. Who doesn't read what was answered is cut off.

uvicorn takes in headers of any size before it asks anybody, waits for them for ever, refuses in
plain text, and keeps an answer for as long as nobody reads it. It also writes an answer's head and
its body apart.
"""

import asyncio
from http import HTTPStatus
from itertools import chain

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from event_router.router.gathered import GatheredTransport

MOST_URL = 32 * 1024
MOST_HEADERS = 32 * 1024
HEAD_SECONDS = 30.0
"""For a head to be here, from its first byte on; also for the first byte of a connection, and for
what is left of a body after its request was answered."""
SLOWEST = 16 * 1024
"""Bytes a second, on average over HEAD_SECONDS, in which an answer has to be read."""


class _Refused(Exception):
    """Ends the parser, which then asks for the answer."""


class BoundedHead(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it. A URL over `MOST_URL` bytes is 414, headers over
    `MOST_HEADERS` are 431, one that isn't whole within `HEAD_SECONDS` is 408, what isn't HTTP is
    400; the connection is closed then. Whoever reads slower than `SLOWEST` is cut off."""

    _in_head = False
    _taken = 0
    _late = False
    _waits_since: float | None = None  # for a head
    _timer: asyncio.TimerHandle | None = None
    _unread_since: tuple[float, int] | None = None  # and how much had been taken then

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        self._gathered = GatheredTransport(transport)
        super().connection_made(self._gathered)
        self._waits_since = self.loop.time()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._look_at_the_time)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look_at_the_time(self) -> None:
        """One timer a connection, whatever the number of its requests, until it is lost."""
        now = self.loop.time()
        waits_since = None if self.transport.is_closing() else self._waits_since
        since = now if waits_since is None else waits_since
        if self._reads_too_slowly(now):
            self.transport.abort()
            return
        if now - since >= HEAD_SECONDS:
            self._close_late()
            since = now
        self._timer = self.loop.call_at(since + HEAD_SECONDS, self._look_at_the_time)

    def _close_late(self) -> None:
        self._late = True
        if self._in_head:
            self.send_400_response("")
        else:
            self.transport.close()

    def _reads_too_slowly(self, now: float) -> bool:
        """Whether what was answered has been there for a while, and too little of it was taken."""
        taken = self._gathered.taken
        if not self._gathered.get_write_buffer_size():
            self._unread_since = None
            return False
        since, before = self._unread_since or (now, taken)
        is_due = now - since >= HEAD_SECONDS
        self._unread_since = (now, taken) if is_due else (since, before)
        return is_due and taken - before < SLOWEST * (now - since)

    def data_received(self, data: bytes) -> None:
        before = self.scope
        super().data_received(data)
        if self._waits_since is None and (self._in_head or self.cycle.response_complete):
            self._waits_since = self.loop.time()
        # A head that began within this piece isn't counted yet: a body may stand before it.
        if self._in_head and self.scope is before and not self.transport.is_closing():
            self._taken += len(data)
            if self._taken > MOST_URL + MOST_HEADERS:
                self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._taken = 0

    def on_headers_complete(self) -> None:
        if self._too_long():
            raise _Refused
        self._in_head = False
        self._waits_since = None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn passes it
        """Called for all that isn't given to the app; what uvicorn says is left out."""
        status, message = self._why()
        body = msgspec.json.encode({"status": status, "message": message})
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (status, status.phrase.encode(), len(body), body)
        )
        self.transport.close()

    def _why(self) -> tuple[HTTPStatus, str]:
        if self._late:
            return HTTPStatus.REQUEST_TIMEOUT, f"the head was not here within {HEAD_SECONDS:g} s"
        if not self._in_head or not (self._too_long() or self._taken > MOST_HEADERS):
            return HTTPStatus.BAD_REQUEST, "this is not HTTP"
        if len(self.url) > MOST_URL:
            return HTTPStatus.REQUEST_URI_TOO_LONG, f"the URL is longer than {MOST_URL} bytes"
        large = f"the headers are larger than {MOST_HEADERS} bytes"
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, large

    def _too_long(self) -> bool:
        size = sum(map(len, chain.from_iterable(self.headers)))
        return size > MOST_HEADERS or len(self.url) > MOST_URL
