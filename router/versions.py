"""A token per tenant that changes with every write to its destinations, in memory and in Redis.

    key                             type    holds
    {<namespace>version}:<tenant>   STRING  a random token

One hash tag for all: one MGET reads many tenants' on a cluster too.
"""

import secrets
from collections.abc import Sequence

from event_router.router.redis_pipe import RedisPipe

# An edit must hold although Redis is full: SET alone is refused then.
_SET = "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], ARGV[1])"


def _new_token() -> str:
    return secrets.token_hex(8)


class MemoryVersions:
    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}

    async def set(self, tenant: str) -> str:
        token = self._tokens[tenant] = _new_token()
        return token

    async def get(self, tenants: Sequence[str]) -> list[str | None]:
        return [self._tokens.get(tenant) for tenant in tenants]


class RedisVersions:
    def __init__(self, pipe: RedisPipe, namespace: str) -> None:
        self._pipe = pipe
        self._prefix = f"{{{namespace}version}}:"

    async def set(self, tenant: str) -> str:
        token = _new_token()
        await self._pipe.call("EVAL", _SET, 1, self._prefix + tenant, token)
        return token

    async def get(self, tenants: Sequence[str]) -> list[str | None]:
        if not tenants:
            return []
        found = await self._pipe.call("MGET", *(self._prefix + tenant for tenant in tenants))
        return [token if token is None else token.decode() for token in found]
