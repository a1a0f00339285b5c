"""A process that dies at a chosen call of a port, before or after the call's effect."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Moment = Literal["before", "after"]


class Crash(BaseException):
    """The process is gone. Not an Exception: nothing may catch it and go on."""


@dataclass
class Fuse:
    """Burns at the `at`th call (from 1) of any port, once. `at=0` never does, and counts.

    `latency` gives the seconds that a call takes, before its effect and after it.
    With `only`, just calls of these names count.
    """

    at: int
    moment: Moment
    latency: Callable[[], float] | None = None
    calls: int = 0
    burnt: str | None = None
    only: frozenset[str] = frozenset()

    def wrap(self, port: Any) -> Any:
        return _Fused(port, self)

    async def take_time(self) -> None:
        if self.latency is not None:
            await asyncio.sleep(self.latency())

    def burn(self, moment: Moment, name: str) -> None:
        if moment == self.moment:
            self.burnt = name
            raise Crash(f"{moment} {name}, call {self.calls}")


class _Fused:
    """Every coroutine method of the port, with the fuse before and after it."""

    def __init__(self, port: Any, fuse: Fuse) -> None:
        self._port = port
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        return self._fused(name, method) if inspect.iscoroutinefunction(method) else method

    def _fused(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            counted = not self._fuse.only or name in self._fuse.only
            self._fuse.calls += counted
            mine = counted and self._fuse.calls == self._fuse.at
            if mine:
                self._fuse.burn("before", f"{type(self._port).__name__}.{name}")
            await self._fuse.take_time()
            try:
                result = await method(*args, **kwargs)
                await self._fuse.take_time()
                return result
            finally:
                if mine:
                    self._fuse.burn("after", f"{type(self._port).__name__}.{name}")

        return call
