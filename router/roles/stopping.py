"""How a role that reads is stopped."""

import asyncio

from event_router.consumers.interrupt import Interrupt
from event_router.consumers.subscription import Subscription
from event_router.router.roles.role import Role

PATIENCE = 1.0
"""Seconds for the list in hand: with all dependencies there it takes some milliseconds."""


async def stop_reading(role: Role, subscription: Subscription, late: Interrupt) -> None:
    """Once the role is to stop no more is read, and what then still waits for a dependency, with
    the last list in hand, is ended by `late`: that list will be read again."""
    await role.stop.wait()
    subscription.stop()
    await asyncio.sleep(min(PATIENCE, role.settings.drain_timeout))
    late.fire()
