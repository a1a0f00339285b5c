"""A downstream service: prints every record of a topic. `python consumer.py BOOTSTRAP TOPIC`"""

import asyncio
import sys

from router.routes import route
from schemas.order import Order

from event_router.consumers.subscribe import subscribe
from event_router.schemas.record import Record


async def handle(record: Record) -> None:
    order = Order.parse(record.value or b"")
    print(f"{route(order)}: {order.item}", flush=True)


asyncio.run(subscribe([sys.argv[2]], "downstream", handle, kafka=sys.argv[1]))
