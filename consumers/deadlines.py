"""Deadlines where there are many at a time: `asyncio.timeout` at a fifth of its price.

All blocks that may take equally long share a timer, since they end in the order in which they
began. It goes by the oldest one, and so fires once in that time, however many there are.
"""

import asyncio
from types import TracebackType


class Deadlines:
    """Of one owner, in one event loop at a time."""

    def __init__(self) -> None:
        self._lines: dict[float, _Line] = {}

    def within(self, seconds: float) -> "_Block":
        """`with deadlines.within(2.0): await …` raises TimeoutError when the block isn't left in
        time. As with `asyncio.timeout`, what it awaits is cancelled."""
        line = self._lines.get(seconds)
        if line is None:
            line = self._lines[seconds] = _Line(seconds)
        return _Block(line)


class _Line:
    """The blocks that may take so long, the oldest first."""

    __slots__ = ("_seconds", "_timer", "blocks")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.blocks: dict[_Block, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, block: "_Block") -> None:
        loop = asyncio.get_running_loop()
        block.at = loop.time() + self._seconds
        self.blocks[block] = None
        if self._timer is None:
            self._timer = loop.call_at(block.at, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self.blocks:
            oldest = next(iter(self.blocks))
            if oldest.at > now:
                self._timer = loop.call_at(oldest.at, self._look, loop)
                return
            del self.blocks[oldest]
            oldest.expire()


class _Block:
    __slots__ = ("_cancelling", "_expired", "_line", "_task", "at")

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._expired = False
        self.at = 0.0

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._line.add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._expired:
            del self._line.blocks[self]
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
