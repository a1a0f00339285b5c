"""Version tokens in memory."""

from collections.abc import Sequence

from event_router.schemas.errors import Unavailable
from event_router.schemas.ids import new_id


class Tokens:
    """A `Versions` that can be lost, or down."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.down = False

    async def set(self, tenant: str) -> str:
        self._require_up()
        self.tokens[tenant] = new_id()
        return self.tokens[tenant]

    async def get(self, tenants: Sequence[str]) -> list[str | None]:
        self._require_up()
        return [self.tokens.get(tenant) for tenant in tenants]

    def _require_up(self) -> None:
        if self.down:
            raise Unavailable("redis", "down")
