"""The sender against servers that misbehave, each in a way of its own."""

import asyncio
import socket
import struct

import pytest

from event_router.consumers.addresses import Resolver, networks
from event_router.consumers.http1.sender import Sender
from event_router.consumers.http1.target import target_of
from event_router.schemas.errors import Rejected, Unavailable
from tests.http1.conftest import posted
from tests.receivers import OK, Reader, Writer, answering, read_request, scripted

HEAD = b"HTTP/1.1 200 OK\r\n"


async def code_of(sender: Sender, url: str, body: bytes = b"{}", *, seconds: float = 20) -> str:
    """The code with which a POST fails."""
    with pytest.raises(Unavailable) as caught:
        await posted(sender, url, body, seconds=seconds)
    assert sender.idle == 0
    return caught.value.code


def reset(writer: Writer) -> None:
    """Closes with a RST instead of a FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_a_chunked_body_is_put_together(sender: Sender) -> None:
    chunks = b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\ntrailer: x\r\n\r\n"
    async with scripted(answering(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks)) as server:
        for _ in range(2):
            assert (await posted(sender, server.url)).body == b"abcde"
        assert server.connections == 1


async def test_an_answer_in_single_bytes_is_put_together(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        for byte in OK:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with scripted(script) as server:
        assert (await posted(sender, server.url)).body == b"ok"


async def test_a_body_may_end_with_the_connection(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(HEAD + b"\r\nall of it")

    async with scripted(script) as server:
        assert (await posted(sender, server.url)).body == b"all of it"
        assert sender.idle == 0


async def test_announcements_before_the_answer_are_passed_over(sender: Sender) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\nx: 1\r\n\r\n"
    async with scripted(answering(early + OK)) as server:
        answer = await posted(sender, server.url)
        assert (answer.status, answer.body, answer.header(b"x")) == (200, b"ok", None)
        assert sender.idle == 1


async def test_announcements_without_end_are_a_protocol_error(sender: Sender) -> None:
    async with scripted(answering(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)) as server:
        assert await code_of(sender, server.url) == "protocol_error"


async def test_an_answer_before_the_body_was_sent_counts(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()  # what is in the buffers; the client is gone by then

    async with scripted(script) as server:
        assert (await posted(sender, server.url, b"x" * (32 << 20))).status == 413
        assert sender.idle == 0


async def test_garbage_is_a_protocol_error(sender: Sender) -> None:
    async with scripted(answering(b"SSH-2.0-OpenSSH_9.2\r\n")) as server:
        assert await code_of(sender, server.url) == "protocol_error"


async def test_two_lengths_are_a_protocol_error(sender: Sender) -> None:
    lengths = b"content-length: 2\r\ncontent-length: 3\r\n\r\nok"
    async with scripted(answering(HEAD + lengths)) as server:
        assert await code_of(sender, server.url) == "protocol_error"


async def test_switching_protocols_is_a_protocol_error(sender: Sender) -> None:
    switching = b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc"
    async with scripted(answering(switching)) as server:
        assert await code_of(sender, server.url) == "protocol_error"


async def test_a_head_without_end_is_a_protocol_error(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(HEAD)
        while True:
            writer.write(b"x: " + b"y" * 1000 + b"\r\n")
            await writer.drain()

    async with scripted(script) as server:
        assert await code_of(sender, server.url) == "protocol_error"


@pytest.mark.parametrize("framing", [b"content-length: 99", b"transfer-encoding: chunked"])
async def test_half_a_body_is_a_protocol_error(sender: Sender, framing: bytes) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(HEAD + framing + b"\r\n\r\n9\r\nhalf")

    async with scripted(script) as server:
        assert await code_of(sender, server.url) == "protocol_error"


async def test_half_a_head_is_a_protocol_error(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(HEAD + b"content-")

    async with scripted(script) as server:
        assert await code_of(sender, server.url) == "protocol_error"


async def test_closing_without_an_answer_is_a_reset(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)

    async with scripted(script) as server:
        assert await code_of(sender, server.url) == "connection_reset"
        assert server.connections == 1


async def test_a_reset_in_the_middle_of_an_answer_is_one(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(HEAD + b"content-length: 99\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer)

    async with scripted(script) as server:
        assert await code_of(sender, server.url) == "connection_reset"


async def test_a_connection_closed_while_idle_is_replaced(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(OK)

    async with scripted(script) as server:
        for _ in range(3):
            assert (await posted(sender, server.url)).status == 200
        assert server.connections == 3


async def test_a_kept_connection_that_dies_under_a_request_is_replaced_once(
    sender: Sender,
) -> None:
    bodies = []

    async def script(reader: Reader, writer: Writer) -> None:
        bodies.append((await read_request(reader)).body)
        writer.write(OK)
        bodies.append((await read_request(reader)).body)
        reset(writer)

    async with scripted(script) as server:
        await posted(sender, server.url, b"1")
        assert (await posted(sender, server.url, b"2")).status == 200
        assert bodies == [b"1", b"2", b"2"]
        assert server.connections == 2


async def test_a_kept_connection_that_dies_within_an_answer_is_not_replaced(
    sender: Sender,
) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncont")

    async with scripted(script) as server:
        await posted(sender, server.url)
        assert await code_of(sender, server.url) == "protocol_error"
        assert server.connections == 1


async def test_an_answer_too_many_ends_the_connection(sender: Sender) -> None:
    async with scripted(answering(OK + b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")) as server:
        for _ in range(2):
            assert (await posted(sender, server.url)).status == 200
        assert server.connections == 2


async def test_what_comes_unasked_ends_an_idle_connection(sender: Sender) -> None:
    closed = asyncio.Event()

    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await reader.read()
        closed.set()

    async with scripted(script) as server, asyncio.timeout(20):
        await posted(sender, server.url)
        assert sender.idle == 1
        await closed.wait()
        assert sender.idle == 0
        assert (await posted(sender, server.url)).status == 200


async def test_idle_connections_expire() -> None:
    closed = asyncio.Event()

    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(OK)
        await reader.read()
        closed.set()

    sender = Sender(Resolver(networks("127.0.0.0/8")), idle_seconds=0.05)
    async with scripted(script) as server, asyncio.timeout(20):
        await posted(sender, server.url)
        assert sender.idle == 1
        await closed.wait()
        assert sender.idle == 0
    await sender.aclose()


async def test_a_body_without_end_costs_the_connection_and_the_status_counts(
    sender: Sender,
) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    async with scripted(script) as server:
        answer = await posted(sender, server.url)
        assert (answer.status, len(answer.body)) == (503, 16 * 1024)
        assert sender.idle == 0


async def test_a_server_that_never_answers_is_a_timeout(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await reader.read()

    async with scripted(script) as server:
        assert await code_of(sender, server.url, seconds=0.1) == "timeout"


async def test_each_request_on_a_kept_connection_has_its_own_deadline(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)
        await asyncio.sleep(0.3)  # longer than the first one had
        writer.write(OK)
        await reader.read()

    async with scripted(script) as server:
        await posted(sender, server.url, seconds=0.2)
        assert (await posted(sender, server.url, seconds=20)).status == 200
        assert await code_of(sender, server.url, seconds=0.1) == "timeout"
        assert server.connections == 1


async def test_a_server_that_never_reads_is_a_timeout(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # streams have no way to
        await asyncio.sleep(0.3)

    async with scripted(script) as server:
        assert await code_of(sender, server.url, b"x" * (32 << 20), seconds=0.1) == "timeout"


async def test_a_body_that_trickles_is_a_timeout(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(HEAD + b"content-length: 9999\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with scripted(script) as server:
        assert await code_of(sender, server.url, seconds=0.2) == "timeout"


async def test_a_tls_handshake_that_hangs_is_a_timeout(sender: Sender) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await reader.read()

    async with scripted(script) as server:
        url = f"https://127.0.0.1:{server.port}"
        assert await code_of(sender, url, seconds=0.2) == "timeout"


async def test_a_name_server_that_hangs_is_a_timeout() -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hangs(host: str) -> list[str]:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        return []

    sender = Sender(Resolver(lookup=hangs))
    assert await code_of(sender, "http://slow.example/", seconds=0.1) == "timeout"
    release.set()
    await sender.aclose()


async def test_a_port_nobody_listens_on_is_refused(sender: Sender) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        assert await code_of(sender, url) == "connection_refused"


async def test_a_name_without_addresses_is_a_dns_error() -> None:
    sender = Sender(Resolver(lookup=lambda _: []))
    assert await code_of(sender, "http://nowhere.example/") == "dns_error"


async def test_a_network_without_a_route_is_unreachable() -> None:
    sender = Sender(Resolver(networks("224.0.0.0/4")))  # TCP has no route to multicast
    assert await code_of(sender, "http://224.0.0.1:1/") == "network_unreachable"


async def test_the_second_address_is_tried_when_the_first_refuses() -> None:
    resolver = Resolver(networks("127.0.0.0/8"), lookup=lambda _: ["127.0.0.2", "127.0.0.1"])
    sender = Sender(resolver)
    async with scripted(answering(OK)) as server:
        answer = await posted(sender, f"http://two.example:{server.port}/")
        assert answer.status == 200
    await sender.aclose()


async def test_a_forbidden_address_is_not_connected_to() -> None:
    sender = Sender(Resolver())
    async with scripted(answering(OK)) as server:
        assert await code_of(sender, server.url) == "forbidden_address"
        assert server.connections == 0


async def test_a_cancelled_post_leaves_no_connection(sender: Sender) -> None:
    closed = asyncio.Event()

    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        post.cancel()
        await reader.read()
        closed.set()

    async with scripted(script) as server:
        post = asyncio.create_task(posted(sender, server.url), name="post")
        with pytest.raises(asyncio.CancelledError):
            await post
        async with asyncio.timeout(20):
            await closed.wait()
        assert sender.idle == 0


async def test_closing_the_sender_ends_what_is_under_way(sender: Sender) -> None:
    asked = asyncio.Event()

    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        asked.set()
        await reader.read()

    async with scripted(script) as server:
        post = asyncio.create_task(posted(sender, server.url), name="post")
        await asked.wait()
        await sender.aclose()
        with pytest.raises(Unavailable):
            await post
        with pytest.raises(Unavailable):
            await posted(sender, server.url)


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\rb", "a\0b"])
async def test_a_header_cannot_begin_another_one(sender: Sender, value: str) -> None:
    with pytest.raises(Rejected) as caught:
        await sender.post(
            target_of("http://127.0.0.1/"), [("x", value)], b"", pool="one", deadline=0
        )
    assert caught.value.code == "invalid_header"
