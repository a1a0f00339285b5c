"""Trouble with a dependency is waited out in place, and said."""

import asyncio

import pytest

from event_router.consumers import patience
from event_router.consumers.health import Health
from event_router.consumers.patience import persist
from event_router.schemas.errors import Rejected, Unavailable


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.004)


class Flaky:
    """Answers after `failures` calls that don't."""

    def __init__(self, health: Health, failures: int) -> None:
        self.health = health
        self.failures = failures
        self.seen: list[dict[str, str]] = []

    async def __call__(self) -> str:
        self.seen.append(dict(self.health.troubles))
        if len(self.seen) <= self.failures:
            raise Unavailable("connection_refused", f"try {len(self.seen)}")
        return "answer"


async def test_a_call_that_works_is_made_once() -> None:
    health = Health(started=True)
    call = Flaky(health, 0)
    assert await persist("redis", call, health) == "answer"
    assert (call.seen, health.ready) == ([{}], True)


async def test_trouble_is_waited_out_and_meanwhile_the_role_is_not_ready() -> None:
    health = Health(started=True)
    call = Flaky(health, 5)
    assert await persist("redis", call, health) == "answer"
    assert call.seen == [
        {},
        *({"redis": f"connection_refused: try {count}"} for count in range(1, 6)),
    ]
    assert health.ready


async def test_other_exceptions_are_not_waited_out() -> None:
    health = Health(started=True)

    async def rejected() -> None:
        raise Rejected("message_too_large")

    with pytest.raises(Rejected):
        await persist("kafka", rejected, health)
    assert health.ready


async def test_it_never_gives_up_but_can_be_cancelled_and_stays_in_trouble() -> None:
    health = Health(started=True)
    call = Flaky(health, 10**9)
    waiting = asyncio.create_task(persist("redis", call, health))
    while len(call.seen) < 4:
        await asyncio.sleep(0.001)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not health.ready


async def test_the_pauses_grow_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def slept(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", slept)
    health = Health()
    await persist("redis", Flaky(health, 5), health)
    assert pauses == [0.001, 0.002, 0.004, 0.004, 0.004]
