"""How often each tenant may be called for, or call. Each API process counts for itself."""

import math
from collections.abc import Callable

from event_router.router.api.errors import Refusal
from event_router.router.rate_limit import RateLimit
from event_router.schemas.ids import checked_id


class TenantRates:
    """Counts requests by tenant; `rate` is how many a second each may have, 0 any number. `clock`
    gives ms."""

    def __init__(self, rate: float, clock: Callable[[], int]) -> None:
        self._rate = rate
        self._limit = RateLimit(rate) if rate else None
        self._clock = clock

    def count(self, tenant: str) -> None:
        """Raises Refusal 429 with the seconds after which the next one is let through, and
        InvalidValue for what can't be a tenant's id."""
        if self._limit is None:
            return
        wait = self._limit.take(checked_id("tenant_id", tenant), self._clock() / 1000)
        if wait:
            more = {"tenant_id": tenant, "requests_per_second": self._rate}
            headers = {"retry-after": str(math.ceil(wait))}
            raise Refusal(429, "too many requests for this tenant", more, headers)
