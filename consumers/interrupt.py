"""Ending an await from outside, without cancelling its task."""

import asyncio
from types import TracebackType


class Interrupt:
    """An async context manager: `fire` ends its body where it awaits, once and for good.

    The body is left without an exception. One that is entered after `fire` ends at its first
    await that waits.
    """

    def __init__(self) -> None:
        self.fired = False
        self._scope: asyncio.Timeout | None = None

    def fire(self) -> None:
        if not self.fired:
            self.fired = True
            if self._scope is not None:
                self._scope.reschedule(asyncio.get_running_loop().time())

    async def __aenter__(self) -> None:
        self._scope = asyncio.timeout(0 if self.fired else None)
        await self._scope.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        scope, self._scope = self._scope, None
        assert scope is not None  # noqa: S101  it was entered
        try:
            await scope.__aexit__(kind, error, trace)
        except TimeoutError:
            return True
        return None
