"""The contract suite of sinks, for ours and for anybody's; needs pytest, pytest-asyncio in its mode
`auto`, and nothing of this package's own tests.

    from event_router.consumers.testing import SinkCase, SinkContract, Trouble

    class TestMine(SinkContract):
        type = "mine"

        @pytest.fixture
        async def case(self) -> AsyncIterator[SinkCase]: ...

docs/sinks.md walks through it.
"""

import pytest

for contract in ("sink_contract", "network_contract"):
    pytest.register_assert_rewrite(f"event_router.consumers.testing.{contract}")

from event_router.consumers.testing.cases import (  # noqa: E402  after the call above
    Arrived,
    SinkCase,
    Trouble,
)
from event_router.consumers.testing.network import (  # noqa: E402
    forwarded_to,
    refusing_port,
    silent_port,
)
from event_router.consumers.testing.network_contract import (  # noqa: E402  after the call above
    NetworkContract,
)
from event_router.consumers.testing.sink_contract import (  # noqa: E402
    BatchContract,
    SinkContract,
)
from event_router.consumers.testing.values import (  # noqa: E402
    a_delivery,
    a_destination,
    local_resources,
)

__all__ = [
    "Arrived",
    "BatchContract",
    "NetworkContract",
    "SinkCase",
    "SinkContract",
    "Trouble",
    "a_delivery",
    "a_destination",
    "forwarded_to",
    "local_resources",
    "refusing_port",
    "silent_port",
]
