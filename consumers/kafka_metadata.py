"""aiokafka's task that learns where partitions are: if it ends, nothing of its client works any
more, and nobody is told. So it is begun again.

`_md_synchronizer` and `_md_update_fut` are pinned by tests/faust/test_contract.py.
"""

import asyncio
import logging
from typing import Any

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds


def keep_learning(client: Any) -> None:
    """To be called before the client is started."""
    learn = client._md_synchronizer  # noqa: SLF001  it is pinned

    async def learn_on() -> None:
        while True:
            try:
                await learn()
            except Exception:
                log.exception("kafka.metadata_failed")
            waited_for = client._md_update_fut  # noqa: SLF001  it is pinned
            if waited_for is not None and waited_for.done():
                client._md_update_fut = None  # noqa: SLF001  it is pinned
            await asyncio.sleep(PAUSE)

    client._md_synchronizer = learn_on  # noqa: SLF001  it is pinned
