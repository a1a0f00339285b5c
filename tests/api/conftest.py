"""One world a test."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.api.world import World


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with made.client:
        yield made
