"""Time that passes only while everybody waits: hours of it cost nothing."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

BEGIN = 1_790_000_000_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """Waiting moves its clock on at once. Real I/O isn't waited for: use none."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for somebody else"
        self._loop.now += max(timeout, 0)
        return super().select(0)


def virtual_clock() -> int:
    """Milliseconds since the epoch, by the running loop."""
    return BEGIN + round(virtual_monotonic() * 1000)


def virtual_monotonic() -> float:
    """Seconds, by the running loop."""
    return asyncio.get_running_loop().time()


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
