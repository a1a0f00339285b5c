"""Writes go out together, in order, and none is kept for longer than a round of the loop."""

import asyncio

from event_router.router.gathered import MOST, GatheredTransport


class Wire(asyncio.Transport):
    """Notes what reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def _gathered() -> tuple[Wire, GatheredTransport]:
    wire = Wire()
    return wire, GatheredTransport(wire)


async def test_writes_of_one_round_are_one_write() -> None:
    wire, transport = _gathered()
    transport.write(b"head ")
    transport.write(b"body")
    assert wire.written == []
    await asyncio.sleep(0)
    assert wire.written == [b"head body"]
    transport.write(b"next")
    await asyncio.sleep(0)
    assert wire.written == [b"head body", b"next"]


async def test_a_buffer_that_is_used_again_was_copied() -> None:
    wire, transport = _gathered()
    buffer = bytearray(b"first")
    transport.write(buffer)
    buffer[:] = b"other"
    await asyncio.sleep(0)
    assert wire.written == [b"first"]


async def test_what_is_large_goes_at_once_and_in_order() -> None:
    wire, transport = _gathered()
    transport.write(b"head")
    transport.write(b"x" * MOST)
    assert wire.written == [b"head" + b"x" * MOST]
    await asyncio.sleep(0)
    assert len(wire.written) == 1


async def test_closing_writes_what_is_left() -> None:
    wire, transport = _gathered()
    transport.write(b"last words")
    transport.close()
    assert (wire.written, wire.closed) == ([b"last words"], True)
    await asyncio.sleep(0)


async def test_nothing_is_written_to_what_is_closed() -> None:
    wire, transport = _gathered()
    transport.write(b"too late")
    wire.closed = True
    await asyncio.sleep(0)
    assert wire.written == []
