"""A service that takes deliveries by POST and says with its status what went wrong."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from event_router.consumers.http1.connection import HttpAnswer
from event_router.consumers.http1.target import Target
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.trouble import Troubles
from event_router.consumers.sinks.webhook import seconds_to_wait
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.errors import Answer

Pool = tuple[DestinationKey, str]
"""A destination as of one version: its connections aren't those of any other."""

_CODES = {401: "authentication_failed", 403: "permission_denied", 404: "target_not_found"}
_CODES |= {408: "timeout", 429: "throttled"}
_TOO_LARGE = 413


class HttpService:
    """One destination's, behind our own sender: addresses are vetted, redirects not followed."""

    def __init__(
        self, target: Target, pool: Pool, resources: SinkResources, troubles: Troubles
    ) -> None:
        self._target = target
        self._pool = pool
        self._resources = resources
        self._troubles = troubles

    async def post(self, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """The answer, when it is a 2xx. Raises Unavailable, or TooLarge for a 413."""
        deadline = asyncio.get_running_loop().time() + self._resources.timeout
        answer = await self._resources.sender.post(
            self._target, headers, body, pool=self._pool, deadline=deadline
        )
        if 200 <= answer.status < 300:
            told = self._troubles.told(answer.body.decode(errors="replace"))
            return Answer("OK", answer.status, told.encode())
        raise self._trouble(answer)

    def aclose(self) -> None:
        self._resources.sender.close_pool(self._pool)

    def _trouble(self, answer: HttpAnswer) -> Exception:
        detail = f"{answer.status}: {answer.body.decode(errors='replace')}"
        if answer.status == _TOO_LARGE:
            return self._troubles.too_large(detail)
        other = "service_unavailable" if answer.status >= 500 else "request_refused"
        wait = seconds_to_wait(answer.header(b"retry-after"), self._resources.clock())
        code = _CODES.get(answer.status, other)
        trouble = self._troubles.unavailable(code, detail, retry_after=wait)
        trouble.answer = replace(trouble.answer, status=answer.status)
        return trouble
