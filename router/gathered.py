"""Writes of one round of the event loop go out together.

A system call costs more than most of what is written: a response is its head and its body, and
concurrent requests to Redis are many small commands.
"""

import asyncio
from typing import Any

MOST = 64 * 1024
"""So many bytes aren't kept back: from there on the transport says when it is too much."""


class GatheredTransport(asyncio.Transport):
    """A transport as it was, but for writes: they reach it at the end of the round, in order, or
    when it is closed. `abort` drops them."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._pieces: list[bytes] = []
        self._size = 0
        self._written = 0
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(bytes(data))
        self._size += len(data)
        self._written += len(data)
        if self._size >= MOST:
            self._flush()

    def _flush(self) -> None:
        pieces, self._pieces, self._size = self._pieces, [], 0
        if pieces and not self._transport.is_closing():
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def get_write_buffer_size(self) -> int:
        return self._size + self._transport.get_write_buffer_size()

    @property
    def taken(self) -> int:
        """Bytes that this machine no longer keeps for the one who reads them, but in the kernel."""
        return self._written - self.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)
