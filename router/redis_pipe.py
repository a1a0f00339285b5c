"""One connection to Redis that all callers share, and the one place that knows its exceptions.

Commands are written in the loop's round in which they come, and replies return in order, so
concurrent calls share a pipeline without waiting for one another. A client library's pipeline costs
20 µs a command and more; here it is about one, most of it hiredis', and a request that is packed
once is free.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import hiredis

from event_router.consumers.deadlines import Deadlines
from event_router.router.gathered import GatheredTransport
from event_router.router.redis_address import read_redis_url
from event_router.schemas.errors import EventRouterError, Unavailable

TIMEOUT = 10.0

Argument = str | bytes | int | float
Reply = Any

_pack: Callable[[tuple[Argument, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # the stub says a tuple of one


class UnfitRedis(EventRouterError):
    """This Redis can't hold the schedule: `str()` says why, and what to change."""


class ErrorReply(Exception):
    """What Redis answers to a command that it refuses: a value among replies."""


class Request(NamedTuple):
    """Commands as they go over the wire, and how many there are."""

    packed: bytes
    commands: int


def request(*commands: Sequence[Argument]) -> Request:
    packed = [_pack(tuple(command)) for command in commands]
    return Request(b"".join(packed), len(packed))


def checked(reply: Reply) -> Reply:
    """`reply`, unless it is an error; then Unavailable, since nothing is skipped for it."""
    if isinstance(reply, ErrorReply):
        raise Unavailable("redis", str(reply)) from reply
    return reply


def is_error(reply: Reply, code: str) -> bool:
    return isinstance(reply, ErrorReply) and str(reply).startswith(code)


def is_out_of_memory(reply: Reply) -> bool:
    """Whether Redis has reached `maxmemory`, and so hasn't carried out any of the command."""
    return is_error(reply, "OOM")


class _Expected:
    """The replies that one request still waits for."""

    __slots__ = ("count", "done", "replies")

    def __init__(self, count: int, done: "asyncio.Future[list[Reply]]") -> None:
        self.count = count
        self.done = done
        self.replies: list[Reply] = []

    def add(self, reply: Reply) -> bool:
        """Whether it was the last one."""
        self.replies.append(reply)
        if len(self.replies) < self.count:
            return False
        if not self.done.done():
            self.done.set_result(self.replies)
        return True


class _Errors:
    """Makes the error replies of a connection. A server that has become a replica keeps its
    connections, and would refuse writes for ever: by now, or soon, its address leads to another."""

    of_a_replica = False

    def __call__(self, why: str) -> ErrorReply:
        if why.startswith("READONLY"):
            self.of_a_replica = True
        return ErrorReply(why)


class _Connection(asyncio.Protocol):
    """Gives each reply to the request whose turn it is."""

    def __init__(self) -> None:
        self._errors = _Errors()
        self._reader = hiredis.Reader(replyError=self._errors)
        self._expected: deque[_Expected] = deque()
        self._transport: GatheredTransport | None = None

    @property
    def alive(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, sent: Request) -> "asyncio.Future[list[Reply]]":
        done: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            done.set_exception(Unavailable("redis", "the connection was lost"))
            return done
        self._expected.append(_Expected(sent.commands, done))
        self._transport.write(sent.packed)
        return done

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is no subclass
        self._transport = GatheredTransport(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if self._expected[0].add(reply):
                    self._expected.popleft()
        except (hiredis.ProtocolError, IndexError):
            self.abort()  # not Redis, or out of step: nothing after this can be trusted
        if self._errors.of_a_replica:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for waiting in self._expected:
            if not waiting.done.done():
                detail = f"the connection was lost: {exc or 'closed by the server'}"
                waiting.done.set_exception(Unavailable("redis", detail))
        self._expected.clear()


class RedisPipe:
    """Redis at `url` (redis://, rediss:// or unix://), connected at the first call and again
    after every loss. All calls raise Unavailable, after `timeout` seconds at the latest; a
    command may have been carried out even so.

    Raises InvalidValue for a URL that is none of these.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        self._address = read_redis_url(url)
        self._timeout = timeout
        self._deadlines = Deadlines()
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    async def send(self, sent: Request) -> list[Reply]:
        """One reply a command, in order; an ErrorReply for a command that was refused."""
        if not sent.commands:
            return []
        connection: _Connection | None = None
        try:
            with self._deadlines.within(self._timeout):
                connection = self._connection
                if connection is None or not connection.alive:
                    connection = await self._connected()
                return await connection.send(sent)
        except TimeoutError as error:
            if connection is not None:
                connection.abort()
            raise Unavailable("redis", f"no answer within {self._timeout:g} s") from error
        except OSError as error:
            raise Unavailable("redis", f"can't connect: {error}") from error

    async def call(self, *command: Argument) -> Reply:
        """The reply to one command; an error is Unavailable."""
        return checked((await self.send(request(command)))[0])

    async def aclose(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            await asyncio.sleep(0)  # the transport closes its socket in the loop's next round

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.alive:
                self._connection = await self._open()
        return self._connection

    async def _open(self) -> _Connection:
        loop, address = asyncio.get_running_loop(), self._address
        if address.path:
            _, connection = await loop.create_unix_connection(_Connection, address.path)
        else:
            _, connection = await loop.create_connection(
                _Connection, address.host, address.port, ssl=address.tls_context()
            )
        try:
            for reply in await connection.send(self._handshake()):
                checked(reply)
        except BaseException:
            connection.abort()
            raise
        return connection

    def _handshake(self) -> Request:
        address = self._address
        commands: list[tuple[Argument, ...]] = []
        if address.password:
            user = (address.username,) if address.username else ()
            commands.append(("AUTH", *user, address.password))
        return request(*commands, ("SELECT", address.db))


async def check_redis(pipe: RedisPipe) -> None:
    """Raises UnfitRedis when this Redis is too old, is a cluster, or may evict what it holds."""
    facts = _facts(await pipe.call("INFO"))
    version = facts.get("redis_version", "")
    if int(version.partition(".")[0] or 0) < 7:
        raise UnfitRedis(f"Redis {version}: 7.0 or newer is needed, or Valkey")
    if facts.get("cluster_enabled") == "1":
        raise UnfitRedis("Redis Cluster: the address of a single server is needed")
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and not policy.startswith("volatile-"):
        raise UnfitRedis(
            f"maxmemory-policy {policy} may evict deliveries that wait: "
            "set it to noeviction or volatile-lru"
        )


def _facts(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode().splitlines())
    return {name: value for name, colon, value in lines if colon}
