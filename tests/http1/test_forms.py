"""Every form that an answer in HTTP/1.1 can have: which are read, and after which of them the
connection serves again; and those that nobody can read for sure, which are a protocol error."""

import asyncio

import pytest

from event_router.consumers.http1.sender import Sender
from event_router.schemas.errors import Unavailable
from tests.http1.conftest import posted
from tests.receivers import Reader, Writer, answering, read_request, scripted

OK_LENGTH = b"content-length: 2\r\n\r\nok"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
V11, V10 = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n"

KEPT = {
    "a length": V11 + OK_LENGTH,
    "names in capitals": V11 + OK_LENGTH.replace(b"content-length", b"CONTENT-LENGTH"),
    "an empty line before": b"\r\n" + V11 + OK_LENGTH,
    "no reason": b"HTTP/1.1 200\r\n" + OK_LENGTH,
    "bytes beyond ASCII": V11 + b"x: \xff\xfe\r\n" + OK_LENGTH,
    "keep-alive said": V11 + b"connection: keep-alive\r\nkeep-alive: timeout=5\r\n" + OK_LENGTH,
    "1.0 that keeps alive": V10 + b"connection: keep-alive\r\n" + OK_LENGTH,
    "an upgrade offered": V11 + b"connection: upgrade\r\nupgrade: h2c\r\n" + OK_LENGTH,
    "one chunk": V11 + CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
    "chunks, extensions": V11 + CHUNKED + b'1;a=b;c="d"\r\no\r\n1\r\nk\r\n000\r\n\r\n',
    "chunked in capitals": V11 + CHUNKED.upper() + b"2\r\nok\r\n0\r\n\r\n",
    "trailers": V11 + CHUNKED + b"2\r\nok\r\n0\r\nx: late\r\netag: y\r\n\r\n",
    "100 before": b"HTTP/1.1 100 Continue\r\n\r\n" + V11 + OK_LENGTH,
    "102 and 103 before": b"HTTP/1.1 102 X\r\n\r\nHTTP/1.1 103 Y\r\nx: early\r\n\r\n"
    + V11
    + OK_LENGTH,
}
CLOSED = {
    "close": V11 + b"connection: close\r\n" + OK_LENGTH,
    "close among others": V11 + b"Connection: x, Close\r\n" + OK_LENGTH,
    "close and chunks": V11 + b"connection: close\r\n" + CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
    "1.0": V10 + OK_LENGTH,
    "1.0 without a length": V10 + b"\r\nok",
    "neither length nor chunks": V11 + b"\r\nok",
    "identity": V11 + b"transfer-encoding: identity\r\n\r\nok",
    "a coding that isn't chunked": V11 + b"transfer-encoding: x-own\r\n\r\nok",
    "more than it said": V11 + OK_LENGTH + b"!",
}
EMPTY = {
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n",
    "a length of 0": V11 + b"content-length: 0\r\n\r\n",
    "no chunk but the last": V11 + CHUNKED + b"0\r\n\r\n",
}
UNREADABLE = {
    "a folded header": V11 + b"x: a\r\n b\r\n" + OK_LENGTH,
    "a folded coding": V11 + b"transfer-encoding:\r\n chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": V11 + b"content-length: 3\r\n" + OK_LENGTH,
    "the same length twice": V11 + b"content-length: 2\r\n" + OK_LENGTH,
    "a list of lengths": V11 + b"content-length: 2, 2\r\n\r\nok",
    "length, then chunks": V11 + b"content-length: 2\r\n" + CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
    "chunks, then length": V11 + b"transfer-encoding: chunked\r\n" + OK_LENGTH,
    "a negative length": V11 + b"content-length: -2\r\n\r\nok",
    "a signed length": V11 + b"content-length: +2\r\n\r\nok",
    "a length in hex": V11 + b"content-length: 0x2\r\n\r\nok",
    "an empty length": V11 + b"content-length:\r\n\r\nok",
    "a length beyond 64 bits": V11 + b"content-length: 99999999999999999999999\r\n\r\nok",
    "a chunk's size that is none": V11 + CHUNKED + b"zz\r\nok\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": V11 + CHUNKED + b"fffffffffffffffff\r\nok\r\n0\r\n\r\n",
    "a chunk longer than it said": V11 + CHUNKED + b"2\r\nokay\r\n0\r\n\r\n",
    "lines without a CR": (V11 + OK_LENGTH).replace(b"\r\n", b"\n"),
    "lines without a LF": (V11 + OK_LENGTH).replace(b"\r\n", b"\r"),
    "a blank before the colon": V11 + b"content-length : 2\r\n\r\nok",
    "a header without a colon": V11 + b"nonsense\r\n" + OK_LENGTH,
    "a NUL in a header": V11 + b"x: a\0b\r\n" + OK_LENGTH,
    "a status of letters": b"HTTP/1.1 abc No\r\n" + OK_LENGTH,
    "a status of two digits": b"HTTP/1.1 99 No\r\n" + OK_LENGTH,
    "a status of four digits": b"HTTP/1.1 2000 No\r\n" + OK_LENGTH,
    "a version that there is not": b"HTTP/1.2 200 OK\r\n" + OK_LENGTH,
    "a page without a head": b"<html>ok</html>",
    "frames of HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80",
}


@pytest.mark.parametrize("form", KEPT)
async def test_after_this_the_connection_serves_again(sender: Sender, form: str) -> None:
    async with scripted(answering(KEPT[form])) as server:
        for _ in range(3):
            answer = await posted(sender, server.url)
            assert (answer.status, answer.body) == (200, b"ok")
            assert answer.header(b"etag") is None
        assert (server.connections, sender.idle) == (1, 1)


@pytest.mark.parametrize("form", CLOSED)
async def test_after_this_there_is_a_new_connection(sender: Sender, form: str) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(CLOSED[form])

    async with scripted(script) as server:
        for _ in range(2):
            answer = await posted(sender, server.url)
            assert (answer.status, answer.body) == (200, b"ok")
        assert server.connections == 2


@pytest.mark.parametrize("form", EMPTY)
async def test_an_answer_without_a_body_serves_again(sender: Sender, form: str) -> None:
    async with scripted(answering(EMPTY[form])) as server:
        for _ in range(2):
            assert (await posted(sender, server.url)).body == b""
        assert (server.connections, sender.idle) == (1, 1)


@pytest.mark.parametrize("form", UNREADABLE)
async def test_what_can_be_read_in_two_ways_is_a_protocol_error(sender: Sender, form: str) -> None:
    async with scripted(answering(UNREADABLE[form])) as server:
        with pytest.raises(Unavailable) as caught:
            await posted(sender, server.url)
        assert (caught.value.code, sender.idle) == ("protocol_error", 0)


@pytest.mark.parametrize("form", [*KEPT, *EMPTY])
async def test_it_may_come_in_any_pieces(sender: Sender, form: str) -> None:
    raw = {**KEPT, **EMPTY}[form]

    async def script(reader: Reader, writer: Writer) -> None:
        for size in (1, 7, len(raw)):
            await read_request(reader)
            for start in range(0, len(raw), size):
                writer.write(raw[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)

    async with scripted(script) as server:
        answers = [await posted(sender, server.url) for _ in range(3)]
        assert len({(answer.status, answer.body) for answer in answers}) == 1
        assert server.connections == 1


async def test_a_compressed_body_stays_as_it_is_and_none_is_asked_for(sender: Sender) -> None:
    heads = []

    async def script(reader: Reader, writer: Writer) -> None:
        heads.append((await read_request(reader)).headers)
        writer.write(V11 + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00")

    async with scripted(script) as server:
        assert (await posted(sender, server.url)).body == b"\x1f\x8b\x08\x00"
    assert "accept-encoding" not in dict(heads[0])


@pytest.mark.parametrize("length", [16 * 1024 + 1, 200 * 1024])
async def test_a_body_longer_than_what_is_kept_is_read_and_serves_again(
    sender: Sender, length: int
) -> None:
    answer = V11 + b"content-length: %d\r\n\r\n" % length + b"x" * length
    async with scripted(answering(answer)) as server:
        for _ in range(2):
            assert (await posted(sender, server.url)).body == b"x" * 16 * 1024
        assert server.connections == 1


async def test_a_body_beyond_the_cap_costs_the_connection(sender: Sender) -> None:
    answer = V11 + b"content-length: 1000000\r\n\r\n" + b"x" * 1_000_000
    async with scripted(answering(answer)) as server:
        for _ in range(2):
            assert (await posted(sender, server.url)).status == 200
        assert (server.connections, sender.idle) == (2, 0)
