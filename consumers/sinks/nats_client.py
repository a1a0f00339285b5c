"""The client of nats-py, with what it does otherwise than a stranger's server may be trusted with.

It is imported when a connection is made: nats-py is an extra.
"""

from typing import Any

from nats.aio.client import Client
from nats.errors import UnexpectedEOF

from event_router.consumers.sinks.nats_keys import NatsKey


class SafeClient(Client):
    """Asked for TLS, it speaks nothing else: the library would follow a server, or whoever stands
    between, into plain text. It signs with `key` itself, and a connection that fails ends, and
    whoever waits for an answer on it learns of that at once."""

    def __init__(self, key: NatsKey | None) -> None:
        super().__init__()
        self._key = key

    async def connect(self, *servers: Any, **options: Any) -> None:
        key = self._key
        if key is not None:
            self._public_nkey = key.public
            options["signature_cb"] = key.signature
        if key is not None and key.jwt is not None:
            jwt = key.jwt.encode()
            options["user_jwt_cb"] = lambda: jwt
        await super().connect(*servers, **options)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if self.options.get("tls"):
            self._server_info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except BaseException:
            # Nobody may wait for its end: after a failed handshake that is never told.
            transport, self._transport = self._transport, None
            if transport is not None:
                transport.close()  # type: ignore[no-untyped-call]  # the library says no types
            raise

    async def _process_err(self, err_msg: str) -> None:
        """What the server says aside, of a right that is missing above all: no answer will come."""
        await super()._process_err(err_msg)
        self._answer_all()

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        self._answer_all()
        await super()._close(status, do_cbs)

    def _answer_all(self) -> None:
        """The library would let them wait for the whole time of an attempt."""
        for waiting in list(self._resp_map.values()):
            if not waiting.done():
                waiting.set_exception(_ended(self._err))


def _ended(why: Exception | None) -> Exception:
    """The server's own word for what ended an attempt, or that the connection broke."""
    if why is None or isinstance(why, UnexpectedEOF):
        return ConnectionResetError("the server closed the connection")
    return why
