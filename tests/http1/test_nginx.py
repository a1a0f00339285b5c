"""The sender against a server that follows the standard."""

import asyncio
import ssl

import pytest

from event_router.consumers.addresses import Resolver, networks
from event_router.consumers.http1.sender import Sender
from event_router.schemas.attempt import BODY_KEPT
from event_router.schemas.errors import Unavailable
from tests.http1.conftest import posted
from tests.nginx import Nginx


async def test_a_post_is_answered(sender: Sender, nginx: Nginx) -> None:
    answer = await posted(sender, nginx.url)
    assert (answer.status, answer.body) == (200, b"ok")
    assert (answer.header(b"server") or b"").startswith(b"nginx")


async def test_an_answer_without_a_body_is_one(sender: Sender, nginx: Nginx) -> None:
    answer = await posted(sender, nginx.url + "/empty")
    assert (answer.status, answer.body) == (204, b"")


async def test_posts_in_a_row_share_a_connection(sender: Sender, nginx: Nginx) -> None:
    for _ in range(3):
        await posted(sender, nginx.url + "/logged?kept", b"12345")
    lines = nginx.logged("?kept", 3)
    assert [line[0] for line in lines] == ["POST"] * 3
    assert {line[2] for line in lines} == {f"127.0.0.1:{nginx.port}"}
    assert len({line[4] for line in lines}) == 1
    assert sender.idle == 1


async def test_pools_share_no_connection(sender: Sender, nginx: Nginx) -> None:
    await posted(sender, nginx.url + "/logged?pools", pool="one")
    await posted(sender, nginx.url + "/logged?pools", pool="two")
    assert len({line[4] for line in nginx.logged("?pools", 2)}) == 2


async def test_a_closed_pool_leaves_the_others_open(sender: Sender, nginx: Nginx) -> None:
    await posted(sender, nginx.url, pool="one")
    await posted(sender, nginx.url, pool="two")
    sender.close_pool("one")
    assert sender.idle == 1


async def test_posts_at_once_get_a_connection_each(sender: Sender, nginx: Nginx) -> None:
    answers = await asyncio.gather(*(posted(sender, nginx.url) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert sender.idle == 20


async def test_idle_connections_are_bounded(nginx: Nginx) -> None:
    sender = Sender(Resolver(networks("127.0.0.0/8")), tls=nginx.tls, idle_per_pool=3, idle_limit=5)
    await asyncio.gather(*(posted(sender, nginx.url, pool="one") for _ in range(9)))
    assert sender.idle == 3
    await asyncio.gather(*(posted(sender, nginx.url, pool="two") for _ in range(9)))
    assert sender.idle == 5
    await sender.aclose()
    assert sender.idle == 0


async def test_an_old_connection_is_not_used_again(nginx: Nginx) -> None:
    sender = Sender(Resolver(networks("127.0.0.0/8")), tls=nginx.tls, max_age=0)
    for _ in range(2):
        await posted(sender, nginx.url)
        assert sender.idle == 0
    await sender.aclose()


async def test_a_server_that_keeps_nothing_alive_is_connected_to_anew(
    sender: Sender, nginx: Nginx
) -> None:
    for _ in range(2):
        assert (await posted(sender, nginx.url + "/closing")).body == b"bye"
    assert sender.idle == 0


async def test_a_redirect_is_an_answer(sender: Sender, nginx: Nginx) -> None:
    assert (await posted(sender, nginx.url + "/moved")).status == 302


async def test_a_large_body_is_sent_whole(sender: Sender, nginx: Nginx) -> None:
    body = b"x" * (4 << 20)
    assert (await posted(sender, nginx.url + "/read?large", body)).status == 204
    (line,) = nginx.logged("?large", 1)
    assert int(line[3]) > len(body)


async def test_a_body_that_is_refused_early_is_answered(sender: Sender, nginx: Nginx) -> None:
    answer = await posted(sender, nginx.url + "/small_bodies", b"x" * (8 << 20))
    assert answer.status == 413


async def test_of_a_long_answer_the_beginning_is_kept(sender: Sender, nginx: Nginx) -> None:
    answer = await posted(sender, nginx.url + "/large")
    assert (answer.status, answer.body) == (200, b"x" * BODY_KEPT)
    assert sender.idle == 0


async def test_tls_is_verified_and_kept_alive(sender: Sender, nginx: Nginx) -> None:
    for _ in range(2):
        assert (await posted(sender, nginx.tls_url + "/logged?tls")).body == b"ok"
    lines = nginx.logged("?tls", 2)
    assert {line[2] for line in lines} == {f"localhost:{nginx.tls_port}"}
    assert len({line[4] for line in lines}) == 1


async def test_a_large_body_goes_through_tls(sender: Sender, nginx: Nginx) -> None:
    assert (await posted(sender, nginx.tls_url + "/read", b"x" * (4 << 20))).status == 204


async def test_a_certificate_nobody_vouches_for_is_called_so(nginx: Nginx) -> None:
    sender = Sender(Resolver(networks("127.0.0.0/8")), tls=ssl.create_default_context())
    with pytest.raises(Unavailable, match="certificate") as caught:
        await posted(sender, f"https://127.0.0.1:{nginx.tls_port}")
    assert caught.value.code == "tls_unknown_authority"
    await sender.aclose()


async def test_a_certificate_of_another_host_is_called_so(nginx: Nginx) -> None:
    resolver = Resolver(networks("127.0.0.0/8"), lookup=lambda _: ["127.0.0.1"])
    sender = Sender(resolver, tls=nginx.tls)
    with pytest.raises(Unavailable) as caught:
        await posted(sender, f"https://other.example:{nginx.tls_port}")
    assert caught.value.code == "tls_name_mismatch"
    await sender.aclose()


async def test_tls_to_a_server_without_it_is_a_tls_error(sender: Sender, nginx: Nginx) -> None:
    with pytest.raises(Unavailable) as caught:
        await posted(sender, f"https://localhost:{nginx.port}")
    assert caught.value.code == "tls_error"
