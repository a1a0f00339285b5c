"""A sender that may reach this machine, and a private nginx."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from event_router.consumers.addresses import Resolver, networks
from event_router.consumers.http1.connection import HttpAnswer
from event_router.consumers.http1.sender import Sender
from event_router.consumers.http1.target import target_of
from tests.nginx import Nginx, running_nginx


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with running_nginx(tmp_path_factory.mktemp("nginx")) as nginx:
        yield nginx


@pytest.fixture
async def sender(nginx: Nginx) -> AsyncIterator[Sender]:
    sender = Sender(Resolver(networks("127.0.0.0/8", "::1/128")), tls=nginx.tls)
    yield sender
    await sender.aclose()


async def posted(
    sender: Sender, url: str, body: bytes = b"{}", *, seconds: float = 20, pool: str = "one"
) -> HttpAnswer:
    """The answer to a POST."""
    deadline = asyncio.get_running_loop().time() + seconds
    return await sender.post(target_of(url), [], body, pool=pool, deadline=deadline)
