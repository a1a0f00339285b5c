"""Both clients, of a router in memory: every test that asks for one runs with each."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.client.routers import FakeRouter, awaitable, blocking, done


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest_asyncio.fixture(params=[blocking, awaitable])
async def client(router: FakeRouter, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    made = request.param(router)
    yield made
    await done(made.close())
